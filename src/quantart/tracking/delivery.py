"""From the spool to MLflow: event by event, in order, each of them once."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from filelock import Timeout
from mlflow import MlflowClient
from mlflow.entities import Metric, Run

from quantart.errors import UserError
from quantart.machine.progress import progress
from quantart.machine.root import real_root
from quantart.tracking import store
from quantart.tracking.find import LOCAL_ID, check_there, latest_points, store_id
from quantart.tracking.lineage import UPSTREAM, DataUsed, description
from quantart.tracking.spool import ARTIFACT, END, METRICS, START, TAGS, Spool, find_spools, now
from quantart.tracking.writer import TrackedRun, create_run, points

TOGETHER = 50  # events at most whose metrics and tags go to the store together
log = logging.getLogger(__name__)


class Delivery:
    """Writes the events of one run to the configured store.

    What is delivered may be in the store already, because the run goes on after a stop or the answer to a request was
    lost. MLflow takes a point of a metric that it has, or a file, as the same one. A step that was trained again has
    another time, so points up to the metric's last step are left out.
    """

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._newest: dict[str, Metric] | None = None  # the last point of each metric; None: not known

    def rest(self) -> Iterator[None]:
        """Deliver what is in the spool, whose lock the caller holds; yields after each event.

        The run's end removes the spool. An event that the store does not take stays, and the store's error is raised.
        """
        while paths := self._spool.events():
            for events in _together(paths):
                self._deliver(list(events.values()))
                for path, event in events.items():
                    # a run that was resumed before its end was delivered has events after it
                    if event["kind"] == END and path == self._spool.events()[-1]:
                        self._spool.remove()
                    else:
                        path.unlink()
                        shutil.rmtree(self._spool.kept(event.get("files", "none")), ignore_errors=True)
                    yield

    def _deliver(self, events: Sequence[dict[str, Any]]) -> None:
        event = events[0]
        if event["kind"] == START:
            self._start(event)
            return
        assert self._spool.run_id is not None  # noqa: S101 - the first event is the start
        run = TrackedRun(self._spool.run_id)
        if event["kind"] == ARTIFACT:
            run.artifact(self._spool.kept(event["files"]), event["folder"])
        elif event["kind"] == END:
            run.end(event["status"], event["time"])
        else:
            self._values(run, events)

    def _start(self, event: Mapping[str, Any]) -> None:
        """Create the run, or set the one that goes on to RUNNING."""
        name, data = event["name"], [DataUsed(**each) for each in event["datasets"]]
        # a local id that the store does not know yet stays as it is
        tags = {key: (key.startswith(UPSTREAM) and store_id(value)) or value for key, value in event["tags"].items()}
        tags["mlflow.note.content"] = description(name, tags, data)
        known = self._spool.run_id
        if known is None:
            tags[LOCAL_ID] = self._spool.local_id
        if run_id := known or store_id(self._spool.local_id):
            begun = _check_goes_on(run_id, name)
            MlflowClient().update_run(run_id, "RUNNING")
        else:
            begun = create_run(name, tags, event["time"])
        run = TrackedRun(begun.info.run_id)
        run.begin(begun, name, event["params"], tags)
        self._newest = latest_points(begun)
        self._spool.found(run.run_id)
        if data:
            run.datasets(data)

    def _values(self, run: TrackedRun, events: Sequence[Mapping[str, Any]]) -> None:
        """Log metrics and tags together."""
        newest = dict(latest_points(check_there(run.run_id)) if self._newest is None else self._newest)
        metrics: list[Metric] = []
        tags: dict[str, str] = {}
        for event in events:
            if event["kind"] == TAGS:
                tags |= event["values"]
            else:
                new = _not_there(newest, event["values"], event["step"], event["time"])
                newest |= {metric.key: metric for metric in new}
                metrics += new
        self._newest = None  # if this fails, part of it may be there
        run.log(metrics, tags=tags)
        self._newest = newest


def _together(paths: Sequence[Path]) -> Iterator[dict[Path, dict[str, Any]]]:
    """Events by their files: metrics and tags in a row together, each event of another kind alone."""
    events = enumerate((path, json.loads(path.read_bytes())) for path in paths)
    for _, some in groupby(events, lambda e: (e[0] // TOGETHER, -1 if e[1][1]["kind"] in {METRICS, TAGS} else e[0])):
        yield dict(event for _, event in some)


def _not_there(newest: Mapping[str, Metric], values: Mapping[str, float], step: int | None, time: int) -> list[Metric]:
    """Those of an event's numbers that follow the `newest` points.

    Numbers without a step, which their time (ms) identifies, become the next of the history.
    """
    known = [newest[key] for key in values if key in newest]
    if step is None:
        if any(time <= point.timestamp for point in known):
            return []
        step = 1 + max((point.step for point in known), default=-1)
    return points({k: value for k, value in values.items() if k not in newest or step > newest[k].step}, step, time)


def _check_goes_on(run_id: str, name: str) -> Run:
    try:
        return check_there(run_id)
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
