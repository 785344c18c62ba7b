"""From the spool to MLflow: event by event, in order, each of them once."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import Timeout
from mlflow import MlflowClient

from quantart.errors import UserError
from quantart.machine.progress import progress
from quantart.machine.root import real_root
from quantart.tracking import store
from quantart.tracking.find import LOCAL_ID, check_there, store_id
from quantart.tracking.lineage import UPSTREAM, DataUsed, description, run_name
from quantart.tracking.spool import ARTIFACT, END, METRICS, START, TAGS, Spool, find_spools, now
from quantart.tracking.writer import TrackedRun, named_errors

log = logging.getLogger(__name__)


class Delivery:
    """Writes the events of one run to the configured store.

    What is delivered may be in the store already, because the run goes on after a stop or the answer to a request was
    lost. Metrics and pictures that the run has for a step are therefore left out: MLflow would keep both.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._client = MlflowClient()
        self._newest: dict[str, tuple[int, int]] = {}
        self._new = False  # whether all metrics that the run has were logged here

    def rest(self) -> Iterator[None]:
        """Deliver what is in the spool, whose lock the caller holds; yields after each event.

        The run's end removes the spool. An event that the store does not take stays, and the store's error is raised.
        """
        while paths := self._spool.events():
            for path in paths:
                event = json.loads(path.read_bytes())
                try:
                    self._deliver(**event)
                except BaseException:  # the store may have it or not
                    self._newest.clear()
                    self._new = False
                    raise
                # a run that was resumed before its end was delivered has events after it
                if event["kind"] == END and path == self._spool.events()[-1]:
                    self._spool.remove()
                else:
                    path.unlink()
                    shutil.rmtree(self._spool.kept(event.get("files", "none")), ignore_errors=True)
                yield

    def _deliver(self, kind: str, **event: Any) -> None:
        if kind == START:
            self._start(**event)
            return
        assert self._spool.run_id is not None  # noqa: S101 - the first event is the start
        run = TrackedRun(self._spool.run_id)
        with named_errors(run.run_id):
            if kind == METRICS:
                self._metrics(run, **event)
            elif kind == ARTIFACT:
                self._artifact(run, **event)
            elif kind == TAGS:
                run.set_tags(event["values"])
            elif kind == END:
                run.end(**event)

    def _start(
        self,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        datasets: Sequence[dict[str, Any]],
        time: int,
    ) -> None:
        """Create the run, or set the one that goes on to RUNNING."""
        # a local id that the store does not know yet stays as it is
        tags = {key: (key.startswith(UPSTREAM) and store_id(value)) or value for key, value in tags.items()}
        tags |= {"mlflow.note.content": description(name, tags, [DataUsed(**data) for data in datasets])}
        known = self._spool.run_id
        if known is None:
            tags |= {LOCAL_ID: self._spool.local_id}
        if run_id := known or store_id(self._spool.local_id):
            _check_goes_on(run_id, name)
            self._client.update_run(run_id, "RUNNING", None if known else run_name(name, tags, run_id))
            run = TrackedRun(run_id)
            run.set_tags(tags)
        else:
            run = TrackedRun.create(name, tags, time)
            self._new = True
        self._spool.found(run.run_id)
        run.params(params)
        if datasets:
            run.datasets([DataUsed(**data) for data in datasets])

    def _metrics(self, run: TrackedRun, values: Mapping[str, float], step: int | None, time: int) -> None:
        """Log numbers; those without a step, which their time (ms) identifies, become the next of the history."""
        newest = {key: self._newest_of(run, key) for key in values}
        if step is None:
            if time <= max(newest_time for _, newest_time in newest.values()):
                return
            step = 1 + max(newest_step for newest_step, _ in newest.values())
        if new := {key: value for key, value in values.items() if step > newest[key][0]}:
            run.metrics(new, step, time)
            self._newest |= {key: (step, time) for key in new}

    def _newest_of(self, run: TrackedRun, key: str) -> tuple[int, int]:
        """Highest step and time in the metric's history; -1 if it is empty."""
        if key not in self._newest:
            history = [] if self._new else self._client.get_metric_history(run.run_id, key)
            points = [(-1, -1), *((metric.step, metric.timestamp) for metric in history)]
            self._newest[key] = max(step for step, _ in points), max(time for _, time in points)
        return self._newest[key]

    def _artifact(
        self, run: TrackedRun, files: str, file: str | None, folder: str | None, once: str | None = None
    ) -> None:
        """Log a kept file, or a kept folder's content, unless a file of another name begins with `once`."""
        kept = self._spool.kept(files)
        if once:
            there = {Path(found.path).name for found in self._client.list_artifacts(run.run_id, folder)}
            if any(name.startswith(once) for name in there - {path.name for path in kept.iterdir()}):
                return
        run.artifact(kept / file if file else kept, folder)


def _check_goes_on(run_id: str, name: str) -> None:
    try:
        check_there(run_id)
    except UserError as error:
        anew = f"to train anew instead of resuming, remove .quantart/checkpoints/{name}"
        raise UserError(error.fault, f"{error.remedy}; {anew}") from None


def deliver_left(spool: Spool, wait: float = 0.0) -> Iterator[None]:
    """Deliver what a process that has ended left of a run; yields after each event.

    A run that its process did not end, because it was killed, becomes FAILED.

    Raises:
        filelock.Timeout: another process still writes or delivers it after `wait` seconds.
        Unreachable: the store does not answer. That it refuses the run is logged, and the rest is kept.
    """
    if not spool.take(wait):
        return
    try:
        events = spool.events()
        if spool.run_id or events:
            if not events or json.loads(events[-1].read_bytes())["kind"] != END:
                spool.append(END, status="FAILED", time=now())
            yield from Delivery(spool).rest()
        else:
            spool.remove()
    except Exception as error:  # artifact stores raise anything
        fault = store.store_error(spool.address, error)
        if isinstance(fault, store.Unreachable):
            raise fault from error
        kept = "%s. %d entries are kept; if the run is not wanted any more, remove %s"
        log.warning(kept, fault, len(spool.events()), spool.folder)
    finally:
        spool.lock.release()


def sync(project: Path, *, wait: float = 0.0, patience: int = store.REQUEST) -> bool:
    """Deliver everything that is left in a project, the oldest run first.

    It waits `wait` seconds for another process to let go of a run, and `patience` seconds for each answer of the store.
    True if nothing is left, apart from what belongs to another store or to a run that is still going on.

    Raises:
        UserError: the store can't be used.
    """
    root = real_root(project)
    address = store.without_password(store.tracking_uri(root))
    for spool in find_spools(root):
        if spool.address != address:
            log.warning("%s is for the store %s: set MLFLOW_TRACKING_URI to deliver it", spool.folder, spool.address)
    ours = find_spools(root, address)
    if not ours:
        log.info("nothing to deliver: everything that was logged for %s is there", address)
        return True
    try:
        store.configure(project, min(patience, 15))
        with store.impatient(patience):
            return all([_sync_run(spool, wait) for spool in ours])
    except store.Unreachable as error:
        log.warning("%s. %d entries of %d runs are kept", error, sum(len(spool.events()) for spool in ours), len(ours))
        return False


def _sync_run(spool: Spool, wait: float) -> bool:
    try:
        title = spool.run_id or spool.local_id
        count = sum(1 for _ in progress(deliver_left(spool, wait), len(spool.events()) or 1, title))
    except Timeout:
        log.info("%s: its training is still running and delivers it", spool.folder)
        return True
    if spool.exists():
        return False
    log.info("run %s: %d entries delivered", spool.run_id or spool.local_id, count)
    return True
