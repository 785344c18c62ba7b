"""The demo as a person and as a program meet it: a real server, a real browser, Gradio's own client."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Locator, Page, expect
from urllib3 import PoolManager
from urllib3.exceptions import HTTPError

from quantart.images.arrays import Picture
from quantart.images.decode import read_image
from quantart.models.fidelity import FidelityControl
from quantart.stylize.stylizer import Stylizer

from ..browser import needs_chromium, open_tab
from ..models.networks import save_control

pytest.importorskip("gradio", reason="the demo's page needs Gradio: pip install 'quantart[demo]'")
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

ROOT = Path(__file__).parents[2]
PHOTO, PAINTING = ROOT / "data/sample/photos/chamomile.jpg", ROOT / "data/sample/paintings/gauguin_two_women.jpg"
SIZE = 96  # pixels of the long side: the limit of the models here, so that each picture takes a moment
PROJECT = "this project"

pytestmark = pytest.mark.usefixtures("one_thread")


@dataclass
class Served:
    address: str
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, control: FidelityControl) -> Iterator[Served]:
    """A project with two trained networks, its pictures those of the sample, and the folder `smooth` with one."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", folder)
    (folder / "data").mkdir()
    (folder / "data" / "sample").symlink_to(ROOT / "data" / "sample")  # no more: the pipeline may have run there
    for variant, saved in save_control(control, folder / "models").items():
        saved.rename(folder / "models" / f"stage2_{variant}")
    shutil.copytree(folder / "models/stage2_continuous", folder / "smooth")
    (folder / "temporary").mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{free.getsockname()[1]}"
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(folder / "temporary")}
    environment.pop("MLFLOW_TRACKING_URI", None)
    options = ["--limit", f"max_size={SIZE}", "--limit", "max_bytes=400000", "--model", "smooth"]
    command = [sys.executable, "-m", "quantart_cli", "demo", "--port", address.rpartition(":")[2], *options]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen(command, cwd=folder, env=environment, stderr=log) as server,
    ):
        try:
            wait_until_it_answers(server, address, folder / "log")
            yield Served(address, folder)
        finally:
            server.terminate()
            server.wait(timeout=180)
    assert server.returncode == 0, (folder / "log").read_text()
    assert list((folder / "temporary").iterdir()) == []  # no picture of a visitor stays


def wait_until_it_answers(server: subprocess.Popen[bytes], address: str, log: Path) -> None:
    while True:
        try:
            PoolManager().request("GET", address, retries=False)
            return
        except HTTPError:
            with suppress(subprocess.TimeoutExpired):
                server.wait(timeout=0.2)
                raise AssertionError(log.read_text()) from None


def painted(control: FidelityControl, photo: Path, painting: Path, **settings: Any) -> Picture:
    pictures = (read_image(file, max_pixels=10**7) for file in (photo, painting))
    return Stylizer(control).stylize(*pictures, **{"size": SIZE, **settings})


@pytest.fixture(scope="module")
def smooth(control: FidelityControl) -> FidelityControl:
    """What is in the folder of that name."""
    return FidelityControl(None, control.continuous)


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with open_tab(1440, 1100) as tab:
        yield tab


@pytest.fixture
def page(tab: Page, served: Served) -> Page:
    """The page as it opens, with one network; everything that the browser fetches is on this machine."""
    fetched: list[str] = []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.goto("about:blank")
    tab.goto(served.address)
    shows(tab, "96 × 54")
    yield tab
    assert [url for url in fetched if not url.startswith((served.address, "blob:", "data:", "about:"))] == []


def block(page: Page, label: str) -> Locator:
    """The box with that label in its corner."""
    return page.locator(".block").filter(has=page.get_by_test_id("block-label").get_by_text(label, exact=True))


def shows(page: Page, size: str, model: str = "smooth") -> None:
    """The page says so below a picture."""
    expect(page.get_by_text(re.compile(rf"^{size} pixels by {model} in")).first).to_be_visible()


@contextmanager
def repainted(page: Page, label: str = "Photograph | painted") -> Iterator[None]:
    """Wait until what is done in the block has led to another picture."""
    picture = block(page, label).locator("img[src$='.png']")
    before = picture.get_attribute("src")
    assert before
    yield
    expect(picture).not_to_have_attribute("src", before)


def upload(page: Page, label: str, file: Path) -> None:
    if (clear := block(page, label).get_by_role("button", name="Clear")).is_visible():
        clear.click()
    block(page, label).locator("input[type=file]").set_input_files(file)


def choose(page: Page, label: str, model: str) -> None:
    page.get_by_label(label, exact=True).click()
    page.get_by_role("option", name=model, exact=True).click()


def slide(page: Page, label: str, value: float) -> None:
    number = page.get_by_role("spinbutton", name=f"number input for {label}")
    number.fill(str(value))
    number.press("Enter")


def download(page: Page) -> tuple[str, Picture]:
    """What the first button gives: the file's name, and the picture."""
    with page.expect_download() as got:
        page.get_by_role("link", name="Download").or_(page.get_by_role("button", name="Download")).first.click()
    return got.value.suggested_filename, read_image(got.value.path(), max_pixels=10**7)


@needs_chromium
def test_it_opens_with_an_example_painted(page: Page, smooth: FidelityControl) -> None:
    name, picture = download(page)
    assert name == "beacon_street_sunset_bruegel_harvesters.png"
    photo, painting = (sorted((ROOT / "data/sample" / each).glob("*.jpg"))[0] for each in ("photos", "paintings"))
    assert np.array_equal(picture, painted(smooth, photo, painting))


@needs_chromium
def test_a_photograph_is_dropped_a_painting_chosen_and_beta_moved(page: Page, smooth: FidelityControl) -> None:
    with repainted(page):
        upload(page, "Photograph", PHOTO)
    with repainted(page):
        page.locator(".samples").nth(1).get_by_role("button").nth(3).click()
    expect(block(page, "Painting").locator("img")).to_have_attribute("src", re.compile("cezanne_apples"))
    with repainted(page):
        slide(page, "beta: manner", 0.5)
    chosen = sorted((ROOT / "data/sample/paintings").glob("*.jpg"))[3]
    name, picture = download(page)
    assert name == "chamomile_cezanne_apples_and_primroses.png"
    assert np.array_equal(picture, painted(smooth, PHOTO, chosen, beta=0.5))
    for shown in block(page, "Photograph | painted").locator("img").all():
        expect(shown).to_have_js_property("naturalWidth", SIZE)


@needs_chromium
def test_a_second_model_paints_the_same_beside(page: Page, control: FidelityControl) -> None:
    choose(page, "A second model, beside it", PROJECT)
    shows(page, "96 × 54", PROJECT)
    with repainted(page):
        choose(page, "Model", PROJECT)
    expect(page.get_by_role("slider", name="range slider for alpha: strokes")).to_be_enabled()
    with repainted(page):
        slide(page, "alpha: strokes", 0.25)
    photo, painting = (sorted((ROOT / "data/sample" / each).glob("*.jpg"))[0] for each in ("photos", "paintings"))
    assert np.array_equal(download(page)[1], painted(control, photo, painting, alpha=0.25))
    choose(page, "A second model, beside it", "none")
    expect(block(page, "Photograph | painted by the second model")).to_be_hidden()


@needs_chromium
def test_a_broken_file_is_a_sentence_on_the_page(page: Page, tmp_path: Path) -> None:
    broken, large = tmp_path / "broken.jpg", tmp_path / "large.jpg"
    broken.write_bytes(PHOTO.read_bytes()[:900])
    upload(page, "Photograph", broken)
    expect(page.get_by_test_id("toast-body")).to_contain_text("photograph: broken picture")
    page.get_by_test_id("toast-close").click()
    large.write_bytes(PHOTO.read_bytes() + bytes(400_000))
    upload(page, "Photograph", large)
    expect(page.get_by_test_id("toast-body")).to_contain_text("exceed the maximum allowed size")
    upload(page, "Photograph", PHOTO)
    shows(page, "96 × 75")


@pytest.fixture(scope="module")
def client(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Client:
    return Client(served.address, verbose=False, download_files=str(tmp_path_factory.mktemp("client")))


def ask(client: Client, **changes: Any) -> Picture:
    given = {"photograph": handle_file(PHOTO), "painting": handle_file(PAINTING), "size": SIZE, "model": PROJECT}
    return read_image(Path(client.predict(**(given | changes), api_name="/paint")), max_pixels=10**7)


def test_a_program_gets_the_same_picture(client: Client, control: FidelityControl) -> None:
    for settings in ({"alpha": 0.3, "beta": 0.6}, {"alpha": 1, "beta": 0, "size": 64}):
        assert np.array_equal(ask(client, **settings), painted(control, PHOTO, PAINTING, **settings))
    assert client.predict(api_name="/models") == ["smooth", PROJECT, "quantart/open"]
    assert list(client.view_api(return_format="dict")["named_endpoints"]) == ["/paint", "/models"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"alpha": 2}, "2"),
        ({"size": SIZE + 1}, str(SIZE)),
        ({"model": "/etc"}, "/etc"),
        ({"photograph": None}, "no photograph was sent"),
        ({"painting": handle_file(ROOT / "README.md")}, "painting: not a JPEG, PNG"),
        ({"photograph": {"path": str(ROOT / "README.md"), "meta": {"_type": "gradio.FileData"}}}, ""),
    ],
)
def test_a_program_gets_a_sentence(changes: dict[str, Any], said: str, client: Client) -> None:
    with pytest.raises(AppError) as refused:
        ask(client, **changes)
    assert said in str(refused.value)
    assert "README.md" not in str(refused.value)
