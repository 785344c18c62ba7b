"""What a check found: a row of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """`fails`: the default pipeline cannot run."""

    ok = "ok"
    warning = "warning"
    fails = "fails"


@dataclass(frozen=True)
class Finding:
    state: State
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    return Finding(State.ok, found)


def warning(found: str, remedy: str) -> Finding:
    return Finding(State.warning, found, remedy)


def fails(found: str, remedy: str) -> Finding:
    return Finding(State.fails, found, remedy)
