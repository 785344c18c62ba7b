import base64
import json
import os
import pickle
import pickletools
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from safetensors import safe_open

from quantart.errors import UserError
from quantart.images.arrays import Picture, encode_png
from quantart.images.decode import decode_image
from quantart.models.fidelity import FidelityControl
from quantart.models.folder import file_sha256
from quantart.models.shipped import shipped
from quantart.models.stage_2 import ExperimentStage2
from quantart.registry.versions import RegisteredVersion
from quantart.serving.folder import SUMS, write_checksums
from quantart.serving.package import MODULES, log_and_register, requirements
from quantart.stylize.networks import named_networks
from quantart.stylize.stylizer import Stylizer

from ..models.networks import PAINTER, save_control


@pytest.fixture(scope="module")
def model(registered: RegisteredVersion) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(registered.uri)


def folder_of(registered: RegisteredVersion) -> Path:
    return Path(mlflow.artifacts.download_artifacts(registered.uri))


def test_the_version_has_run_and_tags(registered: RegisteredVersion) -> None:
    version = MlflowClient().get_model_version("quantart", registered.version)
    assert (str(version.version), version.run_id) == (registered.version, registered.run_id)
    assert version.description == "# tiny"
    assert version.tags["sha256"] == file_sha256(folder_of(registered) / "artifacts" / SUMS)
    assert {"variant": "discrete", "upstream.stage1_style": "0123"}.items() <= version.tags.items()
    run = MlflowClient().get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    (logged,) = run.outputs.model_outputs
    assert version.source == f"models:/{logged.model_id}"


def test_the_registered_model_paints_what_the_network_paints(
    model: mlflow.pyfunc.PyFuncModel,
    registered: RegisteredVersion,
    network: ExperimentStage2,
    pictures: tuple[Picture, Picture],
) -> None:
    row = {"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}
    answer = model.predict(pd.DataFrame([row, row], dtype=object))
    assert list(answer.columns) == ["image", "width", "height", "model_version", "seconds", "refined"]
    assert "\n" not in answer["image"][0]
    assert (answer["model_version"] == registered.version).all()
    assert (answer["seconds"] > 0).all()
    assert (answer["refined"] == 0).all()
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
    assert schema == {"alpha": 1.0, "beta": 1.0, "size": None, "refine": 0}


def test_refining_reaches_the_networks_and_ends_with_each_rows_share_of_the_time(
    registered: RegisteredVersion,
    control: FidelityControl,
    pictures: tuple[Picture, Picture],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = mlflow.pyfunc.load_model(registered.uri, model_config={"max_seconds": 100})
    row = {"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}
    answer = model.predict(pd.DataFrame([row], dtype=object), params={"refine": 2, "size": 96})
    assert answer["refined"].tolist() == [2]
    image = decode_image(base64.b64decode(answer["image"][0]), max_pixels=10**6)
    assert np.array_equal(image, Stylizer(control).paint(*pictures, control.fidelity(), 96, 2))

    now, paint = [0.0], Stylizer.paint

    def ten_seconds_a_step(self: Stylizer, *arguments: Any) -> Picture:
        *others, go_on = arguments
        while go_on():
            now[0] += 10
        return paint(self, *others[:-1])

    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr(Stylizer, "paint", ten_seconds_a_step)
    answer = model.predict(pd.DataFrame([row, row], dtype=object), params={"refine": 200, "size": 96})
    assert answer["refined"].tolist() == [5, 5]
    assert answer["seconds"].tolist() == [50, 50]


def test_arrows_columns_are_taken_as_those_of_objects(model: mlflow.pyfunc.PyFuncModel, noise: Picture) -> None:
    """As Ray Data and `pandas.read_parquet(dtype_backend="pyarrow")` make them."""
    cells = {"content": encode_png(noise), "style": encode_png(255 - noise)}
    expected = model.predict(pd.DataFrame([cells] * 2, dtype=object))["image"]
    for kind in (pa.binary(), pa.large_binary()):
        columns = {name: pd.array([cell] * 2, dtype=pd.ArrowDtype(kind)) for name, cell in cells.items()}
        assert (model.predict(pd.DataFrame(columns))["image"] == expected).all()
    texts = [base64.b64encode(cell).decode() for cell in cells.values()]
    columns = {
        name: pd.array([text] * 2, dtype=pd.ArrowDtype(pa.string())) for name, text in zip(cells, texts, strict=True)
    }
    assert (model.predict(pd.DataFrame(columns))["image"] == expected).all()


def test_each_variant_lies_in_its_own_folder(registered: RegisteredVersion) -> None:
    package = folder_of(registered)
    folders = {file.parent.relative_to(package) for file in package.rglob("model.safetensors")}
    assert folders == {Path("artifacts/discrete"), Path("artifacts/continuous")}


def test_it_can_be_named_for_stylising(registered: RegisteredVersion, tmp_path: Path) -> None:
    mixed, _ = named_networks([registered.uri], 0.25)
    assert None not in (mixed.discrete, mixed.continuous)
    assert [named_networks([registered.uri], alpha)[1].alpha for alpha in (None, 0.25)] == [1.0, 0.25]
    downloaded = shutil.copytree(folder_of(registered), tmp_path / "downloaded")
    assert named_networks([str(downloaded)], None)[1] == named_networks([registered.uri], None)[1]
    shutil.rmtree(downloaded / "artifacts")
    with pytest.raises(UserError) as refused:
        named_networks([str(downloaded)], None)
    assert refused.value.fault.startswith(f"--model {downloaded}: ")
    with pytest.raises(UserError) as refused:
        named_networks(["models:/nothing/1"], None)
    assert refused.value.fault.startswith("--model models:/nothing/1: ")


@pytest.fixture
def alone(
    registered: RegisteredVersion, control: FidelityControl, pictures: tuple[Picture, Picture], tmp_path: Path
) -> RegisteredVersion:
    """A later version that holds the continuous network alone."""
    networks = {"continuous": save_control(control, tmp_path)["continuous"]}
    options: dict[str, Any] = {"name": "alone", "example": pictures, "card": "", "tags": {}}
    return log_and_register(networks, variant="continuous", run_id=registered.run_id, **options)


def test_one_variant_alone_fixes_alpha(
    alone: RegisteredVersion, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    model = mlflow.pyfunc.load_model(alone.uri)
    frame = pd.DataFrame([{"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}], dtype=object)
    image = base64.b64decode(model.predict(frame)["image"][0])
    assert np.array_equal(decode_image(image, max_pixels=10**6), Stylizer(control).stylize(*pictures, alpha=0.0))
    with pytest.raises(MlflowException, match=r"alpha = 0\.5: .*discrete") as refused:
        model.predict(frame, params={"alpha": 0.5})
    assert refused.value.get_http_status_code() == 400


def test_networks_that_cannot_be_mixed_are_not_registered(
    registered: RegisteredVersion, control: FidelityControl, pictures: tuple[Picture, Picture], tmp_path: Path
) -> None:
    networks = save_control(control, tmp_path)
    torch.manual_seed(2)
    ExperimentStage2(PAINTER, 16, 4, block_num=1, variant="continuous").save_pretrained(networks["continuous"])
    options: dict[str, Any] = {"name": "unlike", "example": pictures, "card": "", "tags": {}}
    with pytest.raises(UserError, match=r"embed_dim \(8 and 4\)"):
        log_and_register(networks, variant="discrete", run_id=registered.run_id, **options)
    assert not MlflowClient().search_registered_models("name = 'unlike'")


def test_the_input_example_is_two_real_pictures(
    registered: RegisteredVersion, model: mlflow.pyfunc.PyFuncModel, pictures: tuple[Picture, Picture]
) -> None:
    example = model.input_example
    for column, picture in zip(("content", "style"), pictures, strict=True):
        assert np.array_equal(decode_image(base64.b64decode(example[column][0]), max_pixels=10**8), picture)


@pytest.mark.parametrize("column", ["content", "style"])
def test_a_bad_cell_is_named(column: str, model: mlflow.pyfunc.PyFuncModel, noise: Picture) -> None:
    row = {"content": encode_png(noise), "style": encode_png(noise)}
    with pytest.raises(MlflowException, match=f"row 1, column {column}: ") as refused:
        model.predict(pd.DataFrame([row, row | {column: b"GIF?"}], dtype=object))
    assert refused.value.get_http_status_code() == 400
    tiny = encode_png(noise[:8, :8])
    with pytest.raises(MlflowException, match=f"row 0, column {column}: 8 × 8 pixels"):
        model.predict(pd.DataFrame([row | {column: tiny}], dtype=object))


def pickled(file: Path) -> str | None:
    """What of a file a Python program could unpickle; None: nothing."""
    if file.suffix in {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".bin", ".npy", ".npz", ".pyc"}:
        return "its ending"
    if zipfile.is_zipfile(file) or tarfile.is_tarfile(file):  # PyTorch's own formats are archives of pickles
        return "an archive"
    data = file.read_bytes()
    if data[:3] in {b"\x1f\x8b\x08", b"BZh", b"\xfd7z"}:
        return "compressed"
    try:
        opcodes = [opcode.name for opcode, _, _ in pickletools.genops(data)]
    except (ValueError, UnicodeDecodeError):
        pass
    else:
        return f"{len(opcodes)} opcodes"
    # every pickle since protocol 2 begins with PROTO and its number, those since 4 go on with a FRAME
    return "a pickle inside" if re.search(rb"\x80[\x04\x05]\x95.{6}\0\0", data, re.DOTALL) else None


def test_nothing_in_the_model_is_pickled(registered: RegisteredVersion, tmp_path: Path) -> None:
    modules = folder_of(registered) / "code" / "quantart" / MODULES
    zipfile.ZipFile(modules).extractall(tmp_path)
    assert {file.suffix for file in tmp_path.rglob("*") if file.is_file()} == {".py", ".md", ".txt"}
    assert not [file for file in tmp_path.rglob("*.*") if pickled(file)]
    files = [file for file in folder_of(registered).rglob("*") if file.is_file() and file != modules]
    written = {file for file in files if file.parent.name == "__pycache__"}  # by Python, where a test has loaded it
    assert all((file.parents[1] / f"{file.name.partition('.')[0]}.py").is_file() for file in written)
    files = [file for file in files if file not in written]
    assert {"model.safetensors", "MLmodel", "SHA256SUMS", "README.md"} <= {file.name for file in files}
    assert {file.relative_to(folder_of(registered)): found for file in files if (found := pickled(file))} == {}
    (example,) = folder_of(registered).glob("input_example.json")
    assert json.loads(example.read_text())["columns"] == ["content", "style"]
    for file in files:
        if file.name == "model.safetensors":
            with safe_open(file, "pt") as tensors:
                assert "decoder.conv_in.weight" in tensors.keys()  # noqa: SIM118 - it is no dict


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickle_would_be_found(protocol: int, tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(pickle.dumps({"decoder": [0.5, "text"]}, protocol))
    assert pickled(file)
    torch.save({"decoder": torch.zeros(2)}, file, _use_new_zipfile_serialization=protocol % 2 == 0)
    assert pickled(file)
    file.write_bytes(b"safe header" + pickle.dumps({"decoder": [0.5, "text"] * 100}, 4))
    assert pickled(file)


def test_a_version_whose_weights_were_tampered_with_is_refused(registered: RegisteredVersion, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of(registered), tmp_path / "model"))
    weights = folder / "artifacts" / "discrete" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(Exception, match=r"discrete/model\.safetensors was changed: .*SHA256SUMS"):
        mlflow.pyfunc.load_model(str(folder))
    # somebody who may write the list too is found out by the registry
    artifacts = folder / "artifacts"
    write_checksums([artifacts / "discrete", artifacts / "continuous"], artifacts / SUMS)
    mlflow.pyfunc.load_model(str(folder))


# the model where neither the repository nor its installation can be imported
ELSEWHERE = """
import importlib.util, sys
sys.path[:] = [entry for entry in sys.path if importlib.machinery.PathFinder.find_spec("quantart", [entry]) is None]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
assert importlib.util.find_spec("quantart") is None
import mlflow
for foreign in ("accelerate", "dvc", "lpips", "torchvision"):
    sys.modules[foreign] = None  # importing it fails, as where it is not installed
model = mlflow.pyfunc.load_model(sys.argv[1])
import quantart
from quantart.losses.weights import shipped_file
shipped_file("squeezenet1_1")  # beside the archive of modules
print(quantart.__file__)
print(model.predict(model.input_example)["image"][0][:16])
"""


def test_the_model_runs_without_this_repository(registered: RegisteredVersion, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folder_of(registered), tmp_path / "model"))
    environment = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MLFLOW_TRACKING_URI"}
    }
    process = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(folder)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = zipfile.ZipFile(folder / "code" / "quantart" / MODULES).namelist()
    assert not any(file.startswith(("training/", "evaluation/")) for file in modules)
    where, image = process.stdout.splitlines()[-2:]
    assert Path(where).is_relative_to(folder)
    assert base64.b64decode(image).startswith(b"\x89PNG")


def test_requirements_are_exact(registered: RegisteredVersion) -> None:
    wanted = (folder_of(registered) / "requirements.txt").read_text().split()
    assert {f"mlflow-skinny=={mlflow.__version__}", f"torch=={torch.__version__.partition('+')[0]}"} <= set(wanted)
    assert all(each.count("==") == 1 for each in wanted)


def test_the_size_asked_for_reaches_the_network(
    model: mlflow.pyfunc.PyFuncModel, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    frame = pd.DataFrame([{"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}], dtype=object)
    answer = model.predict(frame, params={"size": 96}).iloc[0]
    assert max(answer["width"], answer["height"]) == 96
    image = decode_image(base64.b64decode(answer["image"]), max_pixels=10**6)
    assert np.array_equal(image, Stylizer(control).stylize(*pictures, size=96))


def test_limits_are_configuration_of_the_model(registered: RegisteredVersion, noise: Picture) -> None:
    config = {"max_rows": 1, "max_pixels": 1000, "max_size": 64, "at_once": 2}
    model = mlflow.pyfunc.load_model(registered.uri, model_config=config)
    frame = pd.DataFrame([{"content": encode_png(noise), "style": encode_png(noise)}] * 2, dtype=object)
    with pytest.raises(MlflowException, match="2 rows; .* 1 to 1"):
        model.predict(frame)
    with pytest.raises(MlflowException, match="row 0, column content: .*40 × 48 pixels.* 1000"):
        model.predict(frame[:1])
    with pytest.raises(MlflowException, match="size = 65: .* 32 to 64"):
        model.predict(frame[:1], params={"size": 65})
    small = encode_png(noise[:32, :31])
    with pytest.raises(MlflowException, match="row 0, column content: 31 × 32 pixels"):
        model.predict(pd.DataFrame([{"content": small, "style": small}], dtype=object))


def test_where_no_size_is_asked_for_the_limit_holds(
    registered: RegisteredVersion, pictures: tuple[Picture, Picture]
) -> None:
    model = mlflow.pyfunc.load_model(registered.uri, model_config={"max_size": 64})
    frame = pd.DataFrame([{"content": encode_png(pictures[0]), "style": encode_png(pictures[1])}], dtype=object)
    assert max(model.predict(frame)[["width", "height"]].iloc[0]) == 64


def test_a_local_build_counts_as_its_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantart.serving.package.version", lambda package: f"2.15.0+{package}")
    assert "onnxruntime==2.15.0" in requirements(shipped("stage2_discrete"))
