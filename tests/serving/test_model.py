"""Lean networks answer by their graphs, without torch; torch paints on GPUs and refines."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from quantart.images.arrays import Picture, encode_png
from quantart.images.decode import decode_image
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.package import REQUIREMENTS, requirements
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.stylizer import Stylizer
from quantart.vocabulary.names import VARIANTS


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


@pytest.fixture
def folder(lean: Path, tmp_path: Path) -> Path:
    """Of a copy of the model."""
    return Path(shutil.copytree(lean, tmp_path / "model"))


def networks(folder: Path) -> list[Path]:
    return [folder / "artifacts" / variant for variant in VARIANTS]


def frame(pictures: tuple[Picture, Picture]) -> pd.DataFrame:
    return pd.DataFrame([dict(zip(("content", "style"), map(encode_png, pictures), strict=True))], dtype=object)


def painted(model: mlflow.pyfunc.PyFuncModel, pictures: tuple[Picture, Picture], **params: Any) -> Picture:
    return decoded(model.predict(frame(pictures), params=params)["image"][0])


def decoded(image: str) -> Picture:
    return decode_image(base64.b64decode(image), max_pixels=10**6)


CONTROLS = ({}, {"alpha": 0.0}, {"alpha": 0.25, "beta": 0.5}, {"size": 96})
WITHOUT_TORCH = """
import json, sys
for missing in ("torch", "torchvision"):
    sys.modules[missing] = None
import mlflow
model = mlflow.pyfunc.load_model(sys.argv[1])
for params in json.loads(sys.argv[2]):
    print(model.predict(model.input_example, params=params)["image"][0])
try:
    model.predict(model.input_example, params={"refine": 2})
except mlflow.exceptions.MlflowException as error:
    print(error.get_http_status_code(), error.message)
"""


def test_without_torch_it_answers_by_graphs_and_refines_nothing(lean: Path, pictures: tuple[Picture, Picture]) -> None:
    command = [sys.executable, "-c", WITHOUT_TORCH, str(lean), json.dumps(CONTROLS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *images, refused = done.stdout.splitlines()[-len(CONTROLS) - 1 :]
    painter = GraphPainter(*networks(lean))
    for image, asked in zip(images, CONTROLS, strict=True):
        fidelity = Fidelity(asked.get("alpha", 1.0), asked.get("beta", 1.0))
        assert np.array_equal(decoded(image), painter.paint(*pictures, fidelity, asked.get("size")))
    assert len(set(images)) == len(CONTROLS)
    assert refused.startswith("400 params: refine = 2: needs torch and torchvision, ")
    assert refused.endswith("; leave it out for the network's own answer")


def test_it_needs_what_paints_it_and_no_more(lean: Path, network: ExperimentStage2, tmp_path: Path) -> None:
    def packages(wanted: list[str]) -> set[str]:
        return {each.partition("==")[0] for each in wanted}

    wanted = (lean / "requirements.txt").read_text().split()
    assert wanted == requirements(*networks(lean))
    assert packages(wanted) == {*REQUIREMENTS, "onnxruntime"}
    network.save_pretrained(tmp_path)  # a network without graphs
    assert packages(requirements(tmp_path)) == {*REQUIREMENTS, "torch", "torchvision"}


def test_on_a_gpu_torch_paints(
    lean: Path, painters: FidelityControl, pictures: tuple[Picture, Picture], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quantart.machine.device.surely_cpu", lambda: False)
    model = mlflow.pyfunc.load_model(str(lean))
    assert np.array_equal(painted(model, pictures), Stylizer(painters).stylize(*pictures))


def test_torch_refines(lean: Path, painters: FidelityControl, pictures: tuple[Picture, Picture]) -> None:
    model = mlflow.pyfunc.load_model(str(lean))
    expected = Stylizer(painters).paint(*pictures, Fidelity(1.0, 1.0), 96, 2)
    assert np.array_equal(painted(model, pictures, refine=2, size=96), expected)
    assert not np.array_equal(painted(model, pictures, size=96), expected)


@pytest.mark.parametrize(
    ("name", "fault"),
    [("config.json", "was changed"), ("model.safetensors", "was changed"), ("content.onnx", "is not listed")],
)
def test_what_the_graphs_are_made_of_is_checked_and_a_graph_is_not_taken(name: str, fault: str, folder: Path) -> None:
    assert not list(folder.rglob("*.onnx"))  # they are made of the two files as the model is loaded
    file = folder / "artifacts" / "discrete" / name
    file.write_bytes(file.read_bytes().replace(b"0", b"1") if file.exists() else b"")
    with pytest.raises(Exception, match=f"discrete/{name} {fault}: .*SHA256SUMS"):
        mlflow.pyfunc.load_model(str(folder))


def test_weights_that_change_afterwards_change_no_answer_and_refine_nothing(
    lean: Path, folder: Path, pictures: tuple[Picture, Picture]
) -> None:
    model = mlflow.pyfunc.load_model(str(folder))
    for network in networks(folder):
        weights = network / "model.safetensors"
        with weights.open("r+b") as file:  # in its place, where a file that is mapped would change too
            file.write(bytes(weights.stat().st_size))
    expected = GraphPainter(*networks(lean)).paint(*pictures, Fidelity(0.5, 0.5), 96)
    assert np.array_equal(painted(model, pictures, alpha=0.5, beta=0.5, size=96), expected)
    with pytest.raises(MlflowException, match=r"/model\.safetensors was changed"):
        painted(model, pictures, refine=2, size=96)
