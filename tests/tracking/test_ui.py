"""The MLflow UI as a person sees it: a real server, a real browser, runs with real pictures."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect
from urllib3 import PoolManager, Retry

from quantart.images.arrays import Picture
from quantart.images.decode import read_image
from quantart.images.grid import picture_grid
from quantart.tracking.lineage import DataUsed
from quantart.tracking.runs import stage_run

from ..browser import needs_chromium, open_tab

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
PICTURES = [("photos", "colosseum.jpg"), ("paintings", "gauguin_two_women.jpg")]
STEPS = (10, 20)
CHART_VIEW = "label:has(input[name=runs-view-mode][value=CHART])"

pytestmark = needs_chromium


@dataclass(frozen=True)
class Shown:
    """Two finished runs of the same stage, by name, and the address that `quantart ui` printed."""

    address: str
    weak: str
    strong: str


@pytest.fixture(scope="module")
def shown(project: Path) -> Iterator[Shown]:
    weak, strong = (_train(project, weight) for weight in (5, 15))
    (project / "params.yaml").touch()  # the mark of a project's root
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # pytest killed: the server ends all the same
    environment = os.environ | {"DO_NOT_TRACK": "true"}
    with subprocess.Popen(
        [sys.executable, "-m", "quantart_cli", "ui", "--port", str(port)],
        cwd=project,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=(log := project / "server.log").open("wb"),
        start_new_session=True,  # its workers end with it
    ) as server:
        try:
            PoolManager().request("GET", f"http://127.0.0.1:{port}/health", retries=Retry(60, backoff_factor=0.2))
            printed = re.search(r"open (\S+) in a browser", log.read_text())
            assert printed, log.read_text()
            yield Shown(printed[1], weak, strong)
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            signal.signal(signal.SIGTERM, before)


def _train(project: Path, style_weight: int) -> str:
    """The name of a run as the pipeline makes them."""
    with stage_run(
        project,
        family="stage2",
        name="stage2_discrete",
        params={"loss": {"style_weight": style_weight}},
        upstream={"stage1_style": "0123456789abcdef"},
        datasets=[DataUsed("style", "ab" * 32, "data/sample/paintings", "training", 81)],
    ) as run:
        for step in STEPS:
            run.metrics({"train/total_loss": 20 / step + style_weight, "val/latent_style": 1 / step}, step)
            run.image("val/transfers", _grid(step), step)
        run.image("eval/transfers", _grid(0), 0)
        run.metrics({"eval/gram_squeezenet1_1": 1 / style_weight, "eval/n": 12}, 0)
    return f"stage2_discrete@{run.run_id[:8]}"


def _grid(step: int) -> Picture:
    row = [read_image(SAMPLE / folder / name, max_pixels=10**7) for folder, name in PICTURES]
    return picture_grid([row], ["content", "style"], [f"step {step}"])


@pytest.fixture(scope="module")
def tab(shown: Shown) -> Iterator[Page]:
    with open_tab(1700, 1000) as tab:
        yield tab


@pytest.fixture
def page(tab: Page, shown: Shown) -> Page:
    """The table of runs, opened at the address that `quantart ui` prints."""
    tab.goto("about:blank")  # else only the part after the # changes, and the page before stays
    tab.goto(shown.address)
    expect(tab.get_by_role("link", name=shown.weak)).to_be_visible()
    return tab


def test_two_runs_are_picked_in_the_table_and_compared(page: Page, shown: Shown) -> None:
    expect(page.get_by_role("heading", name="Runs")).to_be_visible()  # not the page for language models
    expect(page.get_by_text("Compare runs of the same stage")).to_be_visible()
    for name in (shown.weak, shown.strong):
        page.get_by_role("row").filter(has=page.get_by_role("link", name=name)).get_by_role(
            "checkbox", name="toggle row selection"
        ).click()
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Comparing 2 Runs from 1 Experiment")).to_be_visible()
    for text in (shown.weak, shown.strong, "stage2.loss.style_weight", "eval/gram_squeezenet1_1"):
        expect(page.get_by_text(text, exact=True).first).to_be_attached()


def test_both_runs_are_curves_on_the_same_charts(page: Page, shown: Shown) -> None:
    for metric in ("eval/gram_squeezenet1_1", "train/total_loss", "val/latent_style"):
        chart = _card(page, metric)
        for name in (shown.weak, shown.strong):
            expect(chart.get_by_text(name)).to_be_visible()


def test_a_runs_page_says_where_it_comes_from(page: Page, shown: Shown) -> None:
    page.get_by_role("link", name=shown.strong).click()
    expect(page.get_by_role("heading", name=shown.strong)).to_be_visible()
    for text in ("upstream.stage1_style", "data.style", "Training data: 81 pictures of style"):
        expect(page.get_by_text(text).first).to_be_visible()
    expect(page.get_by_role("link", name="stage1_style 01234567")).to_be_visible()
    expect(page.get_by_text("stage2.loss.style_weight")).to_be_attached()


def test_the_pictures_of_both_runs_are_shown_for_each_step(page: Page, shown: Shown) -> None:
    card = _card(page, "val/transfers")
    for step in STEPS:
        _next_step(card, step)
        pictures = _pictures(card, "val~transfers", step)
        expect(pictures).to_have_count(2)
        for name in (shown.weak, shown.strong):
            _expect_loaded(pictures.and_(card.locator(f"img[src*='run_uuid={name.partition('@')[2]}']")))
    _expect_loaded(_pictures(_card(page, "eval/transfers"), "eval~transfers", 0).first)  # nothing to move there


def test_a_picture_of_a_run_opens_in_full_size(page: Page, shown: Shown) -> None:
    page.get_by_role("link", name=shown.strong).click()
    page.get_by_role("tab", name="Model metrics").click()
    card = _searched_card(page, "val/transfers")
    _next_step(card, STEPS[0])
    small = _pictures(card, "val~transfers", STEPS[0])
    _expect_loaded(small)
    small.click()
    full = page.get_by_role("dialog").locator("img")
    expect(full).to_have_js_property("naturalWidth", _grid(STEPS[0]).shape[1])
    expect(full).to_have_js_property("naturalHeight", _grid(STEPS[0]).shape[0])


def _next_step(card: Locator, step: int) -> None:
    slider = card.get_by_role("slider")
    slider.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuenow", str(step))


def _pictures(card: Locator, key: str, step: int) -> Locator:
    """What the card shows of a step, by the artifact's name, which MLflow makes of key and step."""
    return card.locator(f"img[src*='{key}%2Bstep%2B{step}%2B']")


def _expect_loaded(picture: Locator) -> None:
    """One picture, in sight and decoded: a broken one has no width."""
    expect(picture).to_be_visible()
    expect(picture).to_have_js_property("complete", True)
    expect(picture).not_to_have_js_property("naturalWidth", 0)


def _card(page: Page, name: str) -> Locator:
    """The chart of that name in the view of charts."""
    page.locator(CHART_VIEW).click()
    return _searched_card(page, name)


def _searched_card(page: Page, name: str) -> Locator:
    """MLflow draws a card only once it is on the screen."""
    search = page.get_by_placeholder("Search metric charts")
    search.clear()
    search.press_sequentially(name)
    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_text(name, exact=True))
    card.scroll_into_view_if_needed()
    return card
