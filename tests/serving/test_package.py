import base64
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.images import Picture, decode_image, encode_png
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.package import RegisteredModel, requirements
from quantart.serving.stylizer import Stylizer


@pytest.fixture(scope="module")
def model(registered: RegisteredModel) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(registered.uri)


def folder_of(registered: RegisteredModel) -> Path:
    return Path(mlflow.artifacts.download_artifacts(registered.uri))


def test_the_version_has_alias_run_and_tags(registered: RegisteredModel) -> None:
    version = MlflowClient().get_model_version_by_alias("quantart", "challenger")
    assert (str(version.version), version.run_id) == (registered.version, registered.run_id)
    assert version.description == "tiny"
    assert {"variant": "discrete", "upstream.stage1_style": "0123"}.items() <= version.tags.items()
    run = MlflowClient().get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    (logged,) = run.outputs.model_outputs
    assert version.source == f"models:/{logged.model_id}"


def test_the_registered_model_paints_what_the_network_paints(
    model: mlflow.pyfunc.PyFuncModel, network: ExperimentStage2, pictures: tuple[Picture, Picture]
) -> None:
    row = {"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}
    answer = model.predict(pd.DataFrame([row, row], dtype=object))
    assert list(answer.columns) == ["image", "width", "height"]
    image = decode_image(base64.b64decode(answer["image"][1], validate=True), max_pixels=10**6)
    assert image.shape[:2] == (answer["height"][1], answer["width"][1])
    assert np.array_equal(image, Stylizer(network).stylize(*pictures))


def test_the_input_example_is_two_real_pictures(
    registered: RegisteredModel, model: mlflow.pyfunc.PyFuncModel, pictures: tuple[Picture, Picture]
) -> None:
    example = model.input_example
    for column, picture in zip(("content", "style"), pictures, strict=True):
        assert np.array_equal(decode_image(example[column][0], max_pixels=10**8), picture)


@pytest.mark.parametrize("column", ["content", "style"])
def test_a_bad_cell_is_named(column: str, model: mlflow.pyfunc.PyFuncModel, noise: Picture) -> None:
    row = {"content": encode_png(noise), "style": encode_png(noise)}
    with pytest.raises(MlflowException, match=f"row 1, column {column}: not a .* picture") as refused:
        model.predict(pd.DataFrame([row, row | {column: b"GIF?"}], dtype=object))
    assert refused.value.get_http_status_code() == 400
    tiny = encode_png(noise[:8, :8])
    with pytest.raises(MlflowException, match=f"row 0, column {column}: 8 × 8 pixels"):
        model.predict(pd.DataFrame([row | {column: tiny}], dtype=object))


def test_nothing_in_the_model_is_pickled(registered: RegisteredModel) -> None:
    files = [file for file in folder_of(registered).rglob("*") if file.is_file()]
    assert any(file.suffix == ".safetensors" for file in files)
    for file in files:
        start = file.read_bytes()[:2]
        # a pickle begins with its protocol, PyTorch's own format is a zip of pickles
        assert start[:1] != b"\x80", file
        assert start != b"PK", file
        assert file.suffix not in {".pkl", ".pt", ".pth", ".pyc"}, file


def test_the_model_brings_its_own_code_and_exact_requirements(registered: RegisteredModel, tmp_path: Path) -> None:
    folder = folder_of(registered)
    code = (
        "import sys, mlflow; mlflow.pyfunc.load_model(sys.argv[1]); import quantart;"
        "print(quantart.__file__); print([m for m in sys.modules if m in {'pydantic_core', 'accelerate', 'dvc'}])"
    )
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder)], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert Path(process.stdout.splitlines()[0]).is_relative_to(folder)
    wanted = (folder / "requirements.txt").read_text().split()
    assert wanted == requirements()
    assert f"mlflow=={mlflow.__version__}" in wanted


def test_a_local_build_counts_as_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantart.serving.package.version", lambda package: f"2.15.0+{package}")
    assert "torch==2.15.0" in requirements()
