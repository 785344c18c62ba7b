import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantart.images import Picture, decode_image, encode_png
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.registered import RegisteredModel
from quantart.serving.stylizer import Stylizer

START_SECONDS = 180


@pytest.fixture(scope="module")
def server(registered: RegisteredModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a real `mlflow models serve` process."""
    folder = tmp_path_factory.mktemp("server")
    log = folder / "log"
    code = "import sys; from quantart.serving.server import serve; serve(sys.argv[1], port=0)"
    # away from the virtual environment's PATH, as a service manager would start it
    environment = {**os.environ, "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", code, registered.uri], cwd=folder, env=environment, stdout=file, stderr=file
        )
    try:
        yield wait_until_it_answers(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)


def wait_until_it_answers(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if address := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            try:
                with urllib.request.urlopen(f"{address[0]}/ping", timeout=5):
                    return address[0]
            except urllib.error.URLError:
                pass
        time.sleep(0.1)
    raise AssertionError(f"no server after {START_SECONDS} s: {log.read_text()}")


def ask(server: str, request: dict[str, Any]) -> tuple[int, Any]:
    body = json.dumps(request).encode()
    headers = {"Content-Type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"{server}/invocations", body, headers)) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def as_text(picture: Picture) -> str:
    return base64.b64encode(encode_png(picture)).decode()


FORMS = {
    "dataframe_split": lambda content, style: {"columns": ["content", "style"], "data": [[content, style]]},
    "dataframe_records": lambda content, style: [{"content": content, "style": style}],
    "inputs": lambda content, style: {"content": [content], "style": [style]},
    "instances": lambda content, style: [{"content": content, "style": style}],
}


@pytest.mark.parametrize("form", FORMS)
def test_every_request_form_answers_the_painted_picture(
    form: str, server: str, network: ExperimentStage2, pictures: tuple[Picture, Picture]
) -> None:
    status, answer = ask(server, {form: FORMS[form](*map(as_text, pictures))})
    assert status == 200
    (row,) = answer["predictions"]
    image = decode_image(base64.b64decode(row["image"], validate=True), max_pixels=10**6)
    assert image.shape[:2] == (row["height"], row["width"])
    assert np.array_equal(image, Stylizer(network).stylize(*pictures))


@pytest.mark.parametrize("form", FORMS)
def test_every_request_form_takes_alpha_and_beta(
    form: str, server: str, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> None:
    data = FORMS[form](*map(as_text, pictures))
    answers = []
    for params in ({"alpha": 0.5, "beta": 0.25}, {"alpha": 0}, {}, None):
        status, answer = ask(server, {form: data, "params": params})
        assert status == 200
        image = decode_image(base64.b64decode(answer["predictions"][0]["image"]), max_pixels=10**6)
        assert np.array_equal(image, Stylizer(control).stylize(*pictures, **params or {}))
        answers.append(image)
    assert not np.array_equal(answers[0], answers[1])
    assert not np.array_equal(answers[1], answers[2])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"alpha": 1.5}, "alpha = 1.5: must be a number from 0"),
        ({"beta": -0.1}, "beta = -0.1: must be a number from 0"),
        ({"alpha": float("nan")}, "alpha = nan: must be a number from 0"),
        ({"alpha": None}, "alpha = null: must be a number from 0"),
        ({"beta": None}, "beta = null: must be a number from 0"),
        ({"alpha": "NaN"}, "'alpha'.*NaN"),
        ({"beta": "much"}, "'beta'.*much"),
        ({"alpha": [0.5]}, "'alpha'.*must be a scalar"),
        ([0.5], "Parameters must be a dictionary"),
    ],
)
def test_an_alpha_or_beta_that_is_none_answers_400_and_a_sentence(
    params: Any, said: str, form: str, server: str, noise: Picture
) -> None:
    status, answer = ask(server, {form: FORMS[form](as_text(noise), as_text(noise)), "params": params})
    assert status == 400
    assert re.search(said, answer["message"]), answer
    assert "Traceback" not in json.dumps(answer)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cell", ["not base64!", "bm90IGEgcGljdHVyZQ==", "", None, 7])
def test_a_bad_picture_answers_400_and_the_server_lives_on(cell: Any, form: str, server: str, noise: Picture) -> None:
    status, answer = ask(server, {form: FORMS[form](as_text(noise), cell)})
    assert status == 400
    assert re.search("(row 0, )?column style", answer["message"]), answer
    assert ask(server, {form: FORMS[form](as_text(noise), as_text(noise))})[0] == 200


def test_a_missing_column_answers_400(server: str, noise: Picture) -> None:
    status, answer = ask(server, {"dataframe_records": [{"content": as_text(noise)}]})
    assert status == 400
    assert "style" in answer["message"]
