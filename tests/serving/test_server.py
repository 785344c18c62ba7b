"""The real server process: what it answers, how it starts, what stops it."""

import base64
import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.images.arrays import Picture, encode_png
from quantart.images.decode import decode_image
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.shipped import SHIPPED, shipped
from quantart.models.stage_2 import ExperimentStage2
from quantart.registry.versions import RegisteredVersion
from quantart.serving.folder import SHA256_TAG, SUMS, write_checksums
from quantart.serving.server import fetch_model
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.stylizer import Stylizer

from .running import FORMS, as_text, ask, running, start, wait_until_gone, wait_until_it_answers


@pytest.fixture(scope="module")
def server(registered: RegisteredVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(registered.uri, tmp_path_factory.mktemp("server")) as address:
        yield address


def url_safe(picture: Picture) -> str:
    return base64.urlsafe_b64encode(encode_png(picture)).decode().rstrip("=")


def data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{as_text(picture)}"


def in_lines(picture: Picture) -> str:
    return base64.encodebytes(encode_png(picture)).decode()


@pytest.mark.parametrize("form", FORMS)
def test_every_request_form_answers_the_painted_picture(
    form: str, server: str, registered: RegisteredVersion, network: ExperimentStage2, pictures: tuple[Picture, Picture]
) -> None:
    status, answer = ask(server, {form: FORMS[form](*map(as_text, pictures))})
    assert status == 200
    (row,) = answer["predictions"]
    assert list(row) == ["image", "width", "height", "model_version", "seconds", "refined"]
    assert row["model_version"] == registered.version
    image = decode_image(base64.b64decode(row["image"], validate=True), max_pixels=10**6)
    assert image.shape[:2] == (row["height"], row["width"])
    assert np.array_equal(image, Stylizer(network).stylize(*pictures))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("text", [url_safe, data_uri, in_lines])
def test_every_request_form_takes_the_texts_that_are_in_use(
    text: Callable[[Picture], str], form: str, server: str, network: ExperimentStage2, noise: Picture
) -> None:
    status, answer = ask(server, {form: FORMS[form](text(noise), text(255 - noise))})
    assert status == 200
    image = decode_image(base64.b64decode(answer["predictions"][0]["image"]), max_pixels=10**6)
    assert np.array_equal(image, Stylizer(network).stylize(noise, 255 - noise))


@pytest.mark.parametrize("form", FORMS)
def test_every_request_form_takes_the_parameters(
    form: str, server: str, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    data = FORMS[form](*map(as_text, pictures))
    answers = []
    for params in ({"alpha": 0.5, "beta": 0.25}, {"alpha": 0}, {"size": 96}, {"size": None}, {}, None):
        status, answer = ask(server, {form: data, "params": params})
        assert status == 200
        image = decode_image(base64.b64decode(answer["predictions"][0]["image"]), max_pixels=10**6)
        assert np.array_equal(image, Stylizer(control).stylize(*pictures, **params or {}))
        answers.append(image)
    assert not np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[1], answers[2])


def test_it_answers_what_the_model_answers_in_python(
    server: str, registered: RegisteredVersion, pictures: tuple[Picture, Picture]
) -> None:
    photo, painting = pictures
    rows = [{"content": photo, "style": painting}, {"content": painting, "style": photo}]
    model = mlflow.pyfunc.load_model(registered.uri)
    frame = pd.DataFrame(
        [{column: encode_png(picture) for column, picture in row.items()} for row in rows], dtype=object
    )
    asked = [{column: as_text(picture) for column, picture in row.items()} for row in rows]
    here = model.predict(frame, params={"beta": 0.5}).drop(columns="seconds").to_dict("records")
    status, answer = ask(server, {"dataframe_records": asked, "params": {"beta": 0.5}})
    assert status == 200
    assert [without_seconds(row) for row in answer["predictions"]] == here


def test_the_model_that_comes_with_the_package_is_served_from_any_folder(
    pictures: tuple[Picture, Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    row = dict(zip(("content", "style"), map(as_text, pictures), strict=True))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    painter = GraphPainter(shipped("stage2_discrete"))
    with running(SHIPPED, tmp_path) as server:
        for alpha in (1.0, 0.0):
            status, answer = ask(server, {"dataframe_records": [row], "params": {"alpha": alpha}})
            assert status == 200
            (painted,) = answer["predictions"]
            assert painted["model_version"] == SHIPPED
            image = decode_image(base64.b64decode(painted["image"]), max_pixels=10**6)
            # without codes a graph that never had any may sum in another order than one that does not use them
            assert np.abs(image.astype(int) - painter.paint(*pictures, Fidelity(alpha, 1.0))).max() <= 1 - alpha
        served = [each for each in psutil.Process().children() if str(tmp_path) in each.cmdline()[0]]
        loaded = [Path(each.path).name for process in served for each in process.memory_maps()]
        assert any("onnxruntime" in name for name in loaded)
        assert not any("torch" in name for name in loaded)
        assert list((tmp_path / "temporary").rglob("model.safetensors"))
    wait_until_gone(tmp_path / "temporary")
    assert {each.name for each in tmp_path.iterdir()} == {"log", "temporary", "python", "others"}
    assert "arning" not in (tmp_path / "log").read_text().partition("serving quantart/open at")[0]


def test_limits_given_to_the_server_hold(registered: RegisteredVersion, noise: Picture, tmp_path: Path) -> None:
    with running(registered.uri, tmp_path, {"max_rows": 2}) as server:
        rows = [{"content": as_text(noise), "style": as_text(noise)}] * 3
        status, answer = ask(server, {"dataframe_records": rows})
        assert status == 400
        assert re.search("3 rows; .* 1 to 2", answer["message"])
        assert ask(server, {"dataframe_records": rows[:2]})[0] == 200
    log = (tmp_path / "log").read_text()
    assert re.search(r"2 painted in \d+\.\d+ s; styles so far: 1 found, 1 encoded, 1 kept", log), log


def test_a_request_that_takes_too_long_is_given_up(
    registered: RegisteredVersion, noise: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = mlflow.pyfunc.load_model(registered.uri, model_config={"max_seconds": 1})
    frame = pd.DataFrame([dict.fromkeys(("content", "style"), encode_png(noise))] * 2, dtype=object)
    painting, given_up, paint = threading.Event(), threading.Event(), Stylizer.paint

    def slow(*arguments: Any, **options: Any) -> Picture:
        painting.set()
        given_up.wait(60)
        return paint(*arguments, **options)

    monkeypatch.setattr(Stylizer, "paint", slow)
    with ThreadPoolExecutor(1) as other:
        first = other.submit(model.predict, frame)
        painting.wait(60)
        with pytest.raises(MlflowException, match="row 0: .*1 s") as waited:
            model.predict(frame)
        given_up.set()
        with pytest.raises(MlflowException, match="row 1: .*1 s") as too_long:
            first.result(60)
    assert [raised.value.get_http_status_code() for raised in (waited, too_long)] == [504, 504]
    assert len(model.predict(frame[:1])) == 1


def test_killed_in_mid_request_it_starts_again_as_before(
    registered: RegisteredVersion, pictures: tuple[Picture, Picture], tmp_path: Path
) -> None:
    package = Path(mlflow.artifacts.download_artifacts(registered.uri))
    before = {file: file.read_bytes() for file in package.rglob("*") if file.is_file()}
    rows = [{"content": as_text(pictures[0]), "style": as_text(pictures[1])}] * 64
    request = {"dataframe_records": rows}
    process = start(registered.uri, tmp_path / "log")
    address = wait_until_it_answers(process, tmp_path / "log")
    status, first = ask(address, {"dataframe_records": rows[:1]})
    assert status == 200
    idle = seconds_used(process.pid)
    lost: list[BaseException | int] = []

    def send() -> None:
        try:
            lost.append(ask(address, request)[0])
        except (OSError, http.client.HTTPException) as error:
            lost.append(error)

    sender = threading.Thread(target=send)
    sender.start()
    deadline = time.monotonic() + 60
    while seconds_used(process.pid) < idle + 0.5:  # it is at work, on some of the 64 rows
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for process_id in children(process.pid):
        os.kill(process_id, signal.SIGKILL)
    process.wait(timeout=60)
    sender.join(timeout=60)
    assert isinstance(lost[0], OSError | http.client.HTTPException)
    wait_until_gone(tmp_path / "temporary")
    assert {file: file.read_bytes() for file in package.rglob("*") if file.is_file()} == before

    again = tmp_path / "again"
    again.mkdir()
    with running(registered.uri, again) as server:
        status, answer = ask(server, {"dataframe_records": rows[:1]})
    assert status == 200
    assert [without_seconds(each) for each in answer["predictions"]] == [
        without_seconds(each) for each in first["predictions"]
    ]


def without_seconds(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "seconds"}


def seconds_used(process_id: int) -> float:
    """Of processors, by the process and those that it started."""
    times = [psutil.Process(each).cpu_times() for each in children(process_id)]
    return sum(each.user + each.system for each in times)


def children(process_id: int) -> list[int]:
    """The process and those that it started."""
    return [process_id, *(child.pid for child in psutil.Process(process_id).children(recursive=True))]


def test_a_tampered_model_is_not_served(registered: RegisteredVersion, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(mlflow.artifacts.download_artifacts(registered.uri), tmp_path / "model"))
    weights = folder / "artifacts" / "continuous" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(UserError, match=r"^continuous/model\.safetensors was changed: "):
        fetch_model(str(folder))
    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    command = [sys.executable, "-m", "quantart_cli", "serve", "--model", str(folder), "--port", "0"]
    process = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert "continuous/model.safetensors was changed" in process.stderr
    assert "Traceback" not in process.stderr


def test_checksums_that_were_changed_with_the_weights_are_found_by_the_registry(registered: RegisteredVersion) -> None:
    folder = fetch_model(registered.uri)
    artifacts = folder / "artifacts"
    weights, sums = artifacts / "discrete" / "model.safetensors", artifacts / SUMS
    kept = {file: file.read_bytes() for file in (weights, sums)}
    try:
        weights.write_bytes(kept[weights][:-1] + b"!")
        write_checksums([artifacts / "discrete", artifacts / "continuous"], sums)
        with pytest.raises(UserError, match="SHA256SUMS: .*models:/quantart/1"):
            fetch_model(registered.uri)
    finally:
        for file, data in kept.items():
            file.write_bytes(data)
    assert fetch_model(registered.uri) == folder


def test_versions_that_share_a_folder_each_have_their_own_checksums(registered: RegisteredVersion) -> None:
    source = MlflowClient().get_model_version(registered.name, registered.version).source
    mlflow.register_model(source, "twin", tags={SHA256_TAG: "0" * 64})
    for _ in range(2):
        with pytest.raises(UserError, match="SHA256SUMS: .*models:/twin/1"):
            fetch_model("models:/twin/1")
        fetch_model(registered.uri)


@pytest.mark.parametrize("uri", ["models:/quantart/99", "models:/nothing@champion", "/no/such/folder"])
def test_what_is_not_there_is_said(uri: str, registered: RegisteredVersion) -> None:
    with pytest.raises(UserError, match=f"^{uri}: ") as error:
        fetch_model(uri)
    assert "`quantart export`" in error.value.remedy
