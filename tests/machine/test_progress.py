"""Progress on a terminal and in a log."""

from __future__ import annotations

import re

import pytest

from quantart.machine.progress import TrainingBar, progress

VALUES = {"total_loss": 0.5, "images_per_second": 12.34, "reconstruction_loss": 0.1}


@pytest.fixture
def _log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Standard error is no terminal, whatever the environment of the tests says."""
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("_log")
def test_a_log_gets_a_line_for_each_tenth_and_the_items_pass_through(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(range(25), 25, "encode")) == list(range(25))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [f"encode: {count} of 25" for count in (3, 5, 8, 10, 13, 15, 18, 20, 23, 25)]


@pytest.mark.usefixtures("_log")
def test_a_notebook_that_forces_colours_gets_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert list(progress("ab", 2, "encode")) == ["a", "b"]
    with TrainingBar("stage 2", first=0, total=2) as bar:
        bar.show(1, VALUES)
    assert [line.split(":")[0] for line in capsys.readouterr().err.splitlines()] == ["encode", "encode", "stage 2"]


@pytest.mark.usefixtures("_log")
def test_few_items_get_a_line_each_and_no_items_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress([], 0, "encode")) == []
    assert list(progress("ab", 2, "encode")) == ["a", "b"]
    assert capsys.readouterr().err.splitlines() == ["encode: 1 of 2", "encode: 2 of 2"]


@pytest.mark.usefixtures("_terminal")
def test_a_terminal_gets_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress("abc", 3, "encode")) == ["a", "b", "c"]
    shown = capsys.readouterr().err
    assert "encode" in shown
    assert "3/3" in shown


@pytest.mark.usefixtures("_log")
def test_training_in_a_log_shows_step_loss_rate_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bar = TrainingBar("stage 2, discrete", first=10, total=20)
    # 5 of the 10 steps left took 100 s, those before the start count for nothing
    monkeypatch.setattr(bar, "_began", bar._began - 100.0)
    with bar:
        bar.advance(14)
        bar.show(15, VALUES)
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "stage 2, discrete: step 15/20  loss 0.5000  12.3 pictures/s  100 s left"


@pytest.mark.usefixtures("_log")
def test_other_processes_show_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBar("stage 1", first=0, total=2, enabled=False) as bar:
        bar.show(1, VALUES)
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("_terminal")
def test_training_on_a_terminal_shows_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingBar("stage 1", first=0, total=2) as bar:
        bar.show(2, VALUES)
    shown = capsys.readouterr().err
    for text in ("stage 1", "2/2", "loss 0.5000", "12.3 pictures/s"):
        assert re.search(re.escape(text), shown)
    assert "step 2/2" not in shown
