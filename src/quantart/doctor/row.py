"""One line of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`fails`: the default pipeline can't run."""

    ok = "ok"
    warning = "warning"
    fails = "fails"


@dataclass(frozen=True)
class Row:
    """What one check found.

    Attributes:
        remedy: what to do about it; empty where all is well.
    """

    name: str
    state: State
    found: str
    remedy: str = ""


def ok(name: str, found: str) -> Row:
    return Row(name, State.ok, found)


def warning(name: str, found: str, remedy: str) -> Row:
    return Row(name, State.warning, found, remedy)


def fails(name: str, found: str, remedy: str) -> Row:
    return Row(name, State.fails, found, remedy)
