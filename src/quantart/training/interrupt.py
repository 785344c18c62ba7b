"""SIGTERM and SIGINT in training: finish the step, write a checkpoint, then stop."""

from __future__ import annotations

import signal
from typing import Any

from quantart.errors import StoppedBySignal


class Interrupt:
    """Remembers the first SIGTERM or SIGINT inside the block; a second one acts at once, as usual."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._signum is not None

    def request(self) -> None:
        """Stop as if SIGTERM had come, unless a signal already came."""
        self._signum = self._signum or signal.SIGTERM

    def stop_if_requested(self, step: int) -> None:
        if self._signum is not None:
            raise StoppedBySignal(
                self._signum,
                f"a checkpoint was written after step {step}; run the same command again to resume from it",
            )

    def __enter__(self) -> Interrupt:
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _note(self, signum: int, frame: object) -> None:
        self._signum = signum
        self.__exit__()
