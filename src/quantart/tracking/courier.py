"""The thread that brings to the store what a run logs, so that training never waits for a server."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from filelock import Timeout

from quantart.tracking.delivery import Delivery, deliver_rest
from quantart.tracking.spool import Spool, find_spools
from quantart.tracking.store import Unreachable, configure, store_error

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
GRACE = 5.0
"""Seconds that the end of a run waits for a store that fails."""


class Courier(threading.Thread):
    """Delivers a spool while it is being written, after what earlier runs of the project left.

    Owns the spool's lock, and removes the spool once all is delivered and `close` was called.

    Args:
        store_open: whether the store is configured already.
    """

    def __init__(self, project: Path, root: Path, spool: Spool, *, store_open: bool) -> None:
        super().__init__(daemon=True, name="tracking")
        self._project, self._root, self._spool = project, root, spool
        self._store_open = store_open
        self._delivery = Delivery(spool)
        self._earlier = False
        self._new, self._closing, self._stopped = threading.Event(), threading.Event(), threading.Event()
        self._done = threading.Event()
        self._new.set()
        self._failing_since = 0.0
        self.error: Exception | None = None
        """Why the last attempt failed; None: it did not."""

    def wake(self) -> None:
        """Something was added to the spool."""
        self._new.set()

    def wait_for_run(self, seconds: float | None) -> None:
        """Until the run is in the store, or an attempt failed, or the time is over (None: no limit)."""
        self._wait(lambda: self._spool.run_id is not None or self.error is not None, seconds)

    def wait_for_all(self) -> Exception | None:
        """Until nothing is left, or an attempt fails: then why."""
        self._wait(lambda: self._spool.next() is None or self.error is not None, None)
        return self.error

    def close(self, limit: float | None) -> bool:
        """Deliver the rest, as long as that gets on, `limit` seconds at most (None: no limit).

        Returns:
            Whether all is in the store.
        """
        began = time.monotonic()
        self._closing.set()
        self.wake()
        self._wait(lambda: self._done.is_set() or self._failed_for(began) > GRACE, limit)
        if not self._done.is_set():
            self.abandon()
        return self._done.is_set()

    def abandon(self) -> None:
        """Stop where it is. A request that hangs keeps the spool locked until it or the process ends."""
        self._stopped.set()
        self._closing.set()
        self.wake()
        self.join(1.0)

    def run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while not self._stopped.is_set():
                self._new.wait()
                self._new.clear()
                try:
                    self._deliver()
                except Exception as error:  # a store of artifacts raises what it likes; all of it is tried again
                    self._failed(error)
                    (self._stopped if self._closing.is_set() else self._closing).wait(pause)
                    pause = min(2 * pause, LONGEST_PAUSE) if not self._closing.is_set() else FIRST_PAUSE
                    self._new.set()
                else:
                    pause = FIRST_PAUSE
                    if self._closing.is_set() and self._spool.next() is None:
                        self._spool.remove()
                        self._done.set()
                        return
        finally:
            self._spool.lock.release()

    def _deliver(self) -> None:
        if not self._store_open:
            configure(self._project)
            self._store_open = True
        if not self._earlier:
            self._deliver_earlier()
            self._earlier = True
        while not self._stopped.is_set() and self._delivery.next():
            self._succeeded()

    def _deliver_earlier(self) -> None:
        for spool in find_spools(self._root):
            if spool.local_id == self._spool.local_id or spool.address != self._spool.address:
                continue
            try:
                with closing(deliver_rest(spool)) as deliveries:
                    for _ in deliveries:
                        if self._stopped.is_set():
                            return
            except Timeout:  # its process still runs
                continue
            except Exception as error:
                if isinstance(store_error(spool.address, error), Unreachable):
                    raise
                self._say(f"{spool.folder} is not delivered: {store_error(spool.address, error)}; see `quantart sync`")

    def _failed(self, error: Exception) -> None:
        if self.error is None:
            self._failing_since = time.monotonic()
            # a run that could not even begin is spoken of by who began it
            if self._spool.run_id is not None and not self._closing.is_set():
                self._say(
                    f"{store_error(self._spool.address, error)}. Training goes on; what it logs is kept in "
                    f"{self._spool.folder} and delivered later"
                )
        self.error = error

    def _succeeded(self) -> None:
        if self.error is not None:
            self._say(f"{self._spool.address}: the tracking store answers again")
        self.error = None

    def _failed_for(self, began: float) -> float:
        return time.monotonic() - max(began, self._failing_since) if self.error is not None else 0.0

    def _wait(self, happened: Callable[[], bool], seconds: float | None) -> None:
        until = None if seconds is None else time.monotonic() + seconds
        while not happened() and self.is_alive() and (until is None or time.monotonic() < until):
            self._done.wait(0.02)

    @staticmethod
    def _say(text: str) -> None:
        print(f"tracking: {text}", file=sys.stderr, flush=True)
