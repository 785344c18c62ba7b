"""What is said of a piece of work that is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from timing import Call, peak_memory


@dataclass(frozen=True)
class Case:
    """One piece of work; what makes its two ways is called only where that way is wanted.

    Attributes:
        batch: pictures in one call where nothing else is asked for.
        rounds: calls of each way.
        in_half: how ours runs where the device computes bfloat16, for the table; None: in float32 as elsewhere.
        least_bytes: that ours must move at least, for a number of pictures: weights, what goes in and what comes out.
        counted: makes the call whose operations torch counts, where that is not ours.
        peak: bytes that a process which does it our way held at most.
    """

    what: str
    against: str
    batch: int
    rounds: int
    reference: Callable[[int], Call]
    ours: Callable[[int], Call]
    least_bytes: Callable[[int], int]
    in_half: str | None = None
    counted: Callable[[int], Call] | None = None
    peak: Callable[[], int] = peak_memory
