"""What the whole source must not do with what comes from outside."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "cli").rglob("*.py")])
UNPICKLERS = {"cloudpickle", "dill", "joblib", "marshal", "pickle", "shelve"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "yaml.SafeLoader", "yaml.CSafeLoader", "_Loader"}
ALLOWED = {
    "src/quantart/models/reference_file.py": {"from pickle import UnpicklingError"}
}  # an exception, no unpickler


def dangers(code: str) -> Iterator[str]:
    """What in a module may run what it reads."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (f"import {name.name}" for name in node.names if name.name.split(".")[0] in UNPICKLERS)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in UNPICKLERS:
            yield from (f"from {node.module} import {name.name}" for name in node.names)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) in UNPICKLERS:
            yield ast.unparse(node)
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: ast.unparse(word.value) for word in node.keywords}
    loads = name.startswith("torch.") and name.split(".")[-1] in {"load", "load_state_dict_from_url"}
    if loads and given.get("weights_only") != "True":
        yield f"{name} without weights_only"
    if name.startswith("yaml.") and name.split(".")[-1] in {"load", "load_all"}:
        loader = given.get("Loader") or (ast.unparse(node.args[1]) if len(node.args) > 1 else "")
        if loader not in SAFE_LOADERS:
            yield f"{name} with {loader or 'any loader'}"
    if name in {"yaml.unsafe_load", "yaml.full_load", "pd.read_pickle", "pandas.read_pickle", "eval", "exec"}:
        yield name
    if given.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"


def test_nothing_from_outside_is_unpickled() -> None:
    assert len(SOURCES) > 100
    found = {path.relative_to(ROOT).as_posix(): set(dangers(path.read_text(encoding="utf8"))) for path in SOURCES}
    assert {path: each for path, each in found.items() if each} == ALLOWED


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import joblib.numpy_pickle",
        "pickle.load(f)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "torch.hub.load_state_dict_from_url(u)",
        "yaml.load(t)",
        "yaml.load(t, yaml.Loader)",
        "yaml.load(t, Loader=yaml.UnsafeLoader)",
        "np.load(f, allow_pickle=True)",
        "pd.read_pickle(f)",
        "eval(t)",
    ],
)
def test_what_would_run_what_it_reads_is_found(code: str) -> None:
    assert list(dangers(code))


@pytest.mark.parametrize(
    "code",
    ["torch.load(f, weights_only=True)", "yaml.safe_load(t)", "np.load(f, allow_pickle=False)", "model.eval()"],
)
def test_what_reads_data_alone_is_let_through(code: str) -> None:
    assert not list(dangers(code))


def test_libraries_tell_nobody_what_they_are_used_for(tmp_path: Path) -> None:
    code = (
        "import quantart.graphs.run; from mlflow.telemetry import get_telemetry_client as client;"
        "print(client(), __import__('mlflow').telemetry.utils.is_telemetry_disabled())"
    )
    # MLflow is silent under pytest and in CI anyway
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src"), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert said.stdout == "None True\n"
    assert list(tmp_path.iterdir()) == []  # onnxruntime keeps what it is about to send in files
