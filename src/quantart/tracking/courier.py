"""The threads of a run: one delivers what it logs, so that training never waits for a server; one samples the load."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import Timeout
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from quantart.errors import UserError
from quantart.machine.root import real_root
from quantart.tracking.delivery import Delivery, deliver_left
from quantart.tracking.spool import END, Spool, find_spools, now
from quantart.tracking.store import Unreachable, configure, store_error

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 15.0  # seconds between looks into the spool: at first, and at most
PROBE = 5  # seconds that a stage waits for a tracking server before it trains without it
GRACE = 5.0  # seconds that the end of a run waits for a store that fails
KILLED_LIMIT = 10.0  # seconds that a run which was told to stop spends on delivering the rest
log = logging.getLogger(__name__)


class Courier(threading.Thread):
    """Delivers a spool, whose lock it takes over, while it is being written; first what earlier runs left."""

    def __init__(self, project: Path, spool: Spool) -> None:
        super().__init__(daemon=True, name="tracking")
        self._project, self._spool = project, spool
        self._delivery: Delivery | None = None
        self._closing, self._stopped = threading.Event(), threading.Event()
        self._went_well = 0.0  # when the store last took something, or the run ended
        self._awaited = True  # by `begin`, which raises a refusal
        self._error: UserError | None = None  # why the last attempt failed

    def begin(self) -> None:
        """Start, and wait a while for the run's start to be delivered, which gives it its final id.

        Raises:
            UserError: the store refuses the run, which is then given up.
        """
        self.start()
        until = time.monotonic() + (PROBE if self._spool.address.startswith("http") else math.inf)
        while self._spool.events() and self._error is None and time.monotonic() < until:
            time.sleep(0.02)
        self._awaited = False
        if self._error is not None and not isinstance(self._error, Unreachable):
            self._stopped.set()
            self._close(0.0)
            if len(self._spool.events()) == 1:  # the start alone
                self._spool.remove()
            raise self._error

    def end(self, name: str, status: str) -> None:
        """End the run of a stage, and deliver the rest of it while the store takes it; warn of what is left."""
        try:
            self._spool.append(END, status=status, time=now())
        except UserError as error:  # what ended the run matters more than this
            log.warning("%s", error)
        self._went_well = time.monotonic()
        try:
            self._close(KILLED_LIMIT if status == "KILLED" else None)
        except SystemExit:  # a SIGTERM while it waits
            self._close(KILLED_LIMIT)
            raise
        if self._spool.exists():
            reason = self._error or f"{self._spool.address}: no answer yet"
            kept = "%s. %d entries of %s are kept: `quantart sync` delivers them, or the next training"
            log.warning(kept, reason, len(self._spool.events()), name)

    def _close(self, limit: float | None) -> None:
        """Wait for the thread to end by itself, then stop it: a request that hangs still keeps the spool locked."""
        self._closing.set()
        self.join(limit)
        self._stopped.set()
        self.join(1.0)

    def run(self) -> None:
        pause = FIRST_PAUSE
        try:
            while not self._stopped.is_set():
                closing = self._closing.is_set()
                try:
                    self._deliver()
                    if closing:
                        return
                except Exception as error:  # artifact stores raise anything; all of it is tried again
                    self._failed(error)
                    if closing and time.monotonic() - self._went_well > GRACE:
                        return
                pause = FIRST_PAUSE if closing else min(2 * pause, LONGEST_PAUSE)  # long: what waits is sent together
                (self._stopped if closing else self._closing).wait(pause)  # the end of the run wakes it early
        finally:
            self._spool.lock.release()

    def _deliver(self) -> None:
        if self._delivery is None:
            configure(self._project)
            self._deliver_earlier_runs()
            self._delivery = Delivery(self._spool)
        for _ in self._delivery.rest():
            self._went_well = time.monotonic()
            if self._error is not None:
                log.warning("%s: the tracking store answers again", self._spool.address)
                self._error = None
            if self._stopped.is_set():
                return

    def _deliver_earlier_runs(self) -> None:
        for spool in find_spools(real_root(self._project), self._spool.address):
            if spool.local_id != self._spool.local_id:
                try:
                    for _ in deliver_left(spool):
                        if self._stopped.is_set():
                            return
                except Timeout:  # its process is still running
                    continue

    def _failed(self, error: Exception) -> None:
        first, self._error = self._error is None, store_error(self._spool.address, error)
        # after `_error` is set: else `begin` might neither raise it nor this tell of it
        told = self._awaited and not isinstance(self._error, Unreachable)
        if first and not (told or self._closing.is_set()):
            kept = "%s. Training goes on; what it logs is kept in %s and delivered later"
            log.warning(kept, self._error, self._spool.folder)


@contextmanager
def sampled_system(seconds: float, report: Callable[[Mapping[str, float]], None]) -> Iterator[None]:
    """Call `report` with `system/…` values, MLflow's measures of the machine's load, every `seconds`, from a thread.

    MLflow's own loop is not used: it asks the tracking server before each sample, and stops for good without an answer.
    """
    ended = threading.Event()

    def sample() -> None:
        monitor = SystemMetricsMonitor("")
        monitor.collect_metrics()  # thrown away: the processor's load is measured from one call to the next
        while not ended.wait(seconds):
            for each in monitor.monitors:
                each.clear_metrics()
            monitor.collect_metrics()
            with suppress(UserError):  # training reports a full disk
                report({f"system/{name}": float(value) for name, value in monitor.aggregate_metrics().items()})

    thread = threading.Thread(target=sample, daemon=True, name="system metrics")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
