"""What the package says beside a command's result, and how much of it."""

from __future__ import annotations

import logging

import pytest
from typer.testing import CliRunner

from quantart_cli.app import app, root


def say_all() -> None:
    log = logging.getLogger("quantart.some.module")
    log.debug("a detail")
    log.info("a note on %d pictures", 3)
    log.warning("a surprise")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "a note on 3 pictures\nwarning: a surprise\n"),
        ({"quiet": True}, "warning: a surprise\n"),
        ({"verbose": True}, "a detail\na note on 3 pictures\nwarning: a surprise\n"),
    ],
)
def test_notes_go_to_standard_error(options: dict[str, bool], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    root(**options)
    say_all()
    assert tuple(capsys.readouterr()) == ("", said)


@pytest.mark.parametrize(
    ("words", "level"),
    [
        ("summary", logging.INFO),
        ("--quiet summary", logging.WARNING),
        ("summary --quiet", logging.WARNING),
        ("registry list -v", logging.DEBUG),
    ],
)
def test_the_options_may_stand_before_or_after_the_command(words: str, level: int) -> None:
    CliRunner().invoke(app, words.split(), env={"QUANTART_PROJECT": "/nowhere"})
    assert logging.getLogger("quantart").level == level
