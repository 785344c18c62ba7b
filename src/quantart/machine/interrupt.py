"""SIGTERM and SIGINT as a request to stop in good order."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from quantart.errors import StoppedBySignal


class Interrupt:
    """Remembers the first SIGTERM or SIGINT inside the block, so that work can be kept; a second acts at once.

    Only the main thread may enter it.
    """

    def __init__(self) -> None:
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._signum is not None

    def request(self) -> None:
        """Stop as if SIGTERM had come, unless a signal already came."""
        self._signum = self._signum or signal.SIGTERM

    def stop_if_requested(self, message: str) -> None:
        """Raise StoppedBySignal, with what was kept and how to go on, if a signal came."""
        if self._signum is not None:
            raise StoppedBySignal(self._signum, message)

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


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is open is closed, unless it is handled already."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(128 + signum))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def wait_for_a_signal() -> None:
    """Wait for SIGINT or SIGTERM; a second one ends the process at once. Only the main thread may call it."""
    ended = threading.Event()

    def end(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        ended.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    ended.wait()
