"""Steps of refining pictures: their bar, and the signals that stop them."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from quantart.machine.interrupt import Interrupt


class RefineProgress:
    """Asked before each step of refining: shows one bar for all pictures, and says no once SIGINT or SIGTERM came.

    Args:
        each: steps of each picture; 0: it does nothing at all.
        pictures: how many there are.
    """

    def __init__(self, each: int, pictures: int) -> None:
        self.each = each
        self._left = pictures
        self._done = 0  # of the present picture
        self._signals = Interrupt()
        if each:
            from quantart.machine.progress import progress  # rich is slow to import

            self._bar = progress(range(each * pictures), each * pictures, "refine")

    def __call__(self) -> bool:
        if self._signals.requested:
            return False
        next(self._bar)
        self._done += 1
        return True

    def next_picture(self, written: Path | None) -> None:
        """Go on after a picture that was written, or that was passed over (None).

        Raises:
            StoppedBySignal: that was asked for, and the picture is written.
        """
        self._left -= 1
        if written:
            said = f"{written} is the best so far, after {self._done} of {self.each} steps of refining"
            others = f"; --skip-existing goes on with the other {self._left}" if self._left else ""
            self._signals.stop_if_requested(said + others)
        for _ in range(self.each - self._done):
            next(self._bar)
        self._done = 0

    def __enter__(self) -> Self:
        if self.each:
            self._signals.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        if self.each:
            next(self._bar, None)  # counts the last step
            self._bar.close()
            self._signals.__exit__()
