"""Steps of refining; how a signal stops them is tested with the files that they are for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from quantart.stylize.refine_progress import RefineProgress


@pytest.fixture(autouse=True)
def _log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is no terminal, whatever the environment of the tests says."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


def test_one_bar_counts_the_steps_of_all_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    with RefineProgress(5, 4) as refining:
        for written in (True, False, True, True):  # the second could not be used
            assert all(refining() for _ in range(5 if written else 0))
            refining.next_picture(Path("out.png") if written else None)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [f"refine: {count} of 20" for count in range(2, 21, 2)]


def test_without_steps_it_needs_no_main_thread_and_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with RefineProgress(0, 3) as refining:
            refining.next_picture(Path("out.png"))

    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result()
    assert capsys.readouterr().err == ""
