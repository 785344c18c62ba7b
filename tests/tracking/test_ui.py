"""The MLflow UI as a person sees it: a real server, a real browser, runs with real pictures."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect, sync_playwright
from urllib3 import PoolManager, Retry

from quantart.images import picture_grid, read_image
from quantart.tracking.runs import DataUsed
from quantart.tracking.session import stage_run

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
CHART_VIEW = "label:has(input[name=runs-view-mode][value=CHART])"
PATIENCE = 30_000  # milliseconds: the first page is several MB of JavaScript

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it, or name it in CHROMIUM")


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
    rows = [[read_image(SAMPLE / folder / name, max_pixels=10**7) for folder, name in PICTURES]]
    with stage_run(
        project,
        stage="stage2",
        name="stage2_discrete",
        params={"loss": {"style_weight": style_weight}},
        upstream={"stage1_style": "0123456789abcdef"},
        datasets=[DataUsed("style", "ab" * 32, "data/sample/paintings", "training", 81)],
    ) as run:
        for step in (10, 20):
            run.metrics({"train/total_loss": 20 / step + style_weight, "val/latent_style": 1 / step}, step)
            run.image("val/transfers", picture_grid(rows, ["content", "style"], [f"step {step}"]), step)
        run.image("eval/transfers", picture_grid(rows, ["content", "style"]), 0)
        run.metrics({"eval/gram_squeezenet1_1": 1 / style_weight, "eval/n": 12}, 0)
    return f"stage2_discrete@{run.run_id[:8]}"


PICTURES = [("photos", "crab.jpg"), ("paintings", "met_435600.jpg")]


@pytest.fixture(scope="module")
def tab(shown: Shown) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1700, "height": 1000})
        tab.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        yield tab
        browser.close()


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


def _card(page: Page, name: str) -> Locator:
    """The chart of that name in the view of charts; MLflow draws a card only once it is on the screen."""
    page.locator(CHART_VIEW).click()
    search = page.get_by_placeholder("Search metric charts")
    search.clear()
    search.press_sequentially(name)
    card = page.get_by_test_id("experiment-view-compare-runs-card").filter(has=page.get_by_text(name, exact=True))
    card.scroll_into_view_if_needed()
    return card
