import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.images import Picture, decode_image, encode_png
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.package import log_and_register, requirements
from quantart.serving.registered import RegisteredModel
from quantart.serving.stylizer import Stylizer

from .conftest import TINY, save


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


def test_alpha_and_beta_reach_the_networks(
    model: mlflow.pyfunc.PyFuncModel, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    frame = pd.DataFrame([{"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}], dtype=object)
    for params in ({"alpha": 0.25, "beta": 0.5}, {"alpha": 0.0}):
        image = base64.b64decode(model.predict(frame, params=params)["image"][0])
        assert np.array_equal(decode_image(image, max_pixels=10**6), Stylizer(control).stylize(*pictures, **params))
    schema = {param.name: param.default for param in model.metadata.get_params_schema()}
    assert schema == {"alpha": 1.0, "beta": 1.0}


def test_each_variant_lies_in_its_own_folder(registered: RegisteredModel) -> None:
    folders = {file.parent.relative_to(folder_of(registered)) for file in folder_of(registered).rglob("*.safetensors")}
    assert folders == {Path("artifacts/discrete"), Path("artifacts/continuous")}


@pytest.fixture
def alone(
    registered: RegisteredModel, control: FidelityControl, pictures: tuple[Picture, Picture], tmp_path: Path
) -> RegisteredModel:
    """A later version that holds the continuous network alone."""
    networks = {"continuous": save(control, tmp_path)["continuous"]}
    options: dict[str, Any] = {"name": "alone", "example": pictures, "description": "", "tags": {}}
    return log_and_register(networks, variant="continuous", run_id=registered.run_id, **options)


def test_one_variant_alone_fixes_alpha(
    alone: RegisteredModel, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    model = mlflow.pyfunc.load_model(alone.uri)
    frame = pd.DataFrame([{"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}], dtype=object)
    image = base64.b64decode(model.predict(frame)["image"][0])
    assert np.array_equal(decode_image(image, max_pixels=10**6), Stylizer(control).stylize(*pictures, alpha=0.0))
    with pytest.raises(MlflowException, match="alpha = 0.5: needs the discrete network, and only") as refused:
        model.predict(frame, params={"alpha": 0.5})
    assert refused.value.get_http_status_code() == 400


def test_networks_that_cannot_be_mixed_are_not_registered(
    registered: RegisteredModel, control: FidelityControl, pictures: tuple[Picture, Picture], tmp_path: Path
) -> None:
    networks = save(control, tmp_path)
    torch.manual_seed(2)
    ExperimentStage2(TINY, 16, 4, block_num=1, variant="continuous").save_pretrained(networks["continuous"])
    options: dict[str, Any] = {"name": "unlike", "example": pictures, "description": "", "tags": {}}
    with pytest.raises(UserError, match=r"differ in embed_dim \(8 and 4\)"):
        log_and_register(networks, variant="discrete", run_id=registered.run_id, **options)
    assert not MlflowClient().search_registered_models("name = 'unlike'")


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
