"""What a check found: a row of the doctor's table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial


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


ok, warning, fails = (partial(Finding, state) for state in State)
