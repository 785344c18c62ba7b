"""The wheel holds both packages and the console script, and works outside the repository."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import quantart

ROOT = Path(__file__).parents[1]


def call(*command: object, folder: Path, path: Path | None = None) -> str:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment |= {"PYTHONPATH": str(path), "PATH": f"{path / 'bin'}:{environment['PATH']}"}
    result = subprocess.run(
        [str(part) for part in command], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is left in the repository."""
    copy = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    for name in ("src", "cli"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    call(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", copy / "dist", folder=copy)
    (built,) = (copy / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("installed")
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, folder=target)
    return target


def test_it_holds_every_module_of_both_packages_and_nothing_else(wheel: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {
        path.relative_to(root).as_posix()
        for root, package in ((ROOT / "src", "quantart"), (ROOT / "cli", "quantart_cli"))
        for path in (root / package).rglob("*")
        if path.suffix in {".py", ".html", ".safetensors", ".json", ".md", ".jpg"}
        or path.name == "py.typed"
        or (path.parent.name in {"imagenet", "files"} and path.is_file())
    }
    presets = {f"quantart/new_project/files/presets/{file.name}" for file in (ROOT / "presets").glob("*.yaml")}
    assert inside == expected | presets


def test_a_project_made_of_it_runs_again_what_an_upgrade_changes(installed: Path, tmp_path: Path) -> None:
    for name in ("photos", "paintings"):
        (tmp_path / name).mkdir()
        for picture in sorted((ROOT / "data" / "sample" / name).glob("*.jpg"))[:6]:
            shutil.copy(picture, tmp_path / name)
    call("quantart", "init", "mine", "--content", "photos", "--style", "paintings", folder=tmp_path, path=installed)
    assert "custom_unpaired" in call("quantart", "preset", "list", folder=tmp_path / "mine", path=installed)

    def repro() -> list[str]:
        said = call(sys.executable, "-m", "dvc", "repro", "pair", folder=tmp_path / "mine", path=installed)
        return re.findall(r"Running stage '(.+)'", said)

    assert sorted(repro()) == ["code", "pair", "prepare@content", "prepare@style"]
    assert repro() == ["code"]
    module = installed / "quantart" / "data" / "pairing.py"
    module.write_text(f"{module.read_text()}\nANOTHER_VERSION = True\n")
    assert repro() == ["code", "pair"]


def test_it_carries_the_licence(wheel: Path) -> None:
    assert any(name.endswith("licenses/LICENSE") for name in zipfile.ZipFile(wheel).namelist())


def test_installed_elsewhere_the_console_script_runs(installed: Path, tmp_path: Path) -> None:
    script = installed / "bin" / "quantart"
    assert call(script, "--version", folder=tmp_path, path=installed) == f"quantart {quantart.__version__}\n"


def test_both_packages_come_from_where_they_were_installed(installed: Path, tmp_path: Path) -> None:
    code = "import quantart, quantart_cli.app; print(quantart.__file__); print(quantart_cli.__file__)"
    places = call(sys.executable, "-c", code, folder=tmp_path, path=installed).split()
    assert places == [str(installed / name / "__init__.py") for name in ("quantart", "quantart_cli")]
