"""From the spool to the store: event by event, in order, each of them once."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any

from mlflow import MlflowClient

from quantart.tracking.labels import UPSTREAM, describe, run_name
from quantart.tracking.local import LOCAL_ID, find_local
from quantart.tracking.runs import DataUsed, StageRun
from quantart.tracking.spool import Spool, is_local_id
from quantart.tracking.store import EXPERIMENT


class Delivery:
    """Delivers one spool, whose lock the caller holds; the store is the one that is configured."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._run: StageRun | None = None

    def next(self) -> bool:
        """Deliver one event; False: there was none.

        Raises:
            Exception: whatever the store raises; then the event is still the next one.
        """
        found = self._spool.next()
        if found is None:
            return False
        event, end = found
        try:
            self._deliver(event)
        except BaseException:
            self._run = None  # it may be in the store or not: what the store has is asked anew
            raise
        self._spool.mark(end)
        if "files" in event:
            self._spool.forget(event["files"])
        return True

    def _deliver(self, event: Mapping[str, Any]) -> None:
        if event["kind"] == "start":
            self._start(event["name"], event["tags"], [DataUsed(**data) for data in event["datasets"]], event["time"])
            return
        run = self._written()
        match event["kind"]:
            case "params":
                run.flat_params(event["values"])
            case "tags":
                run.set_tags(event["tags"])
            case "datasets":
                run.datasets([DataUsed(**data) for data in event["datasets"]])
            case "metrics":
                run.metrics(event["values"], event["step"], event["time"])
            case "samples":
                run.samples(event["values"], event["time"])
            case "picture":
                run.picture_files(event["key"], event["step"], self._spool.kept(event["files"]))
            case "artifact":
                kept = self._spool.kept(event["files"])
                run.artifact(kept / event["file"] if event["file"] else kept, event["folder"])
            case "end":
                MlflowClient().set_terminated(run.run_id, event["status"], event["time"])

    def _start(self, name: str, tags: Mapping[str, str], datasets: Sequence[DataUsed], time: int) -> None:
        """Make the run, or wake the one that goes on."""
        client = MlflowClient()
        tags = {key: _in_store(value) if key.startswith(UPSTREAM) else value for key, value in tags.items()}
        tags |= {"mlflow.note.content": describe(name, tags, datasets)}
        run_id, named = self._spool.run_id, None
        if run_id is None:
            tags |= {LOCAL_ID: self._spool.local_id}
            run_id = find_local(self._spool.local_id)
            if run_id is None:
                experiment = client.get_experiment_by_name(EXPERIMENT)
                run_id = client.create_run(experiment.experiment_id, time, tags, name).info.run_id
            named = run_name(name, tags, run_id)
        client.update_run(run_id, "RUNNING", named)
        StageRun(run_id).set_tags(tags)
        self._spool.found(run_id)

    def _written(self) -> StageRun:
        if self._run is None:
            assert self._spool.run_id is not None  # noqa: S101 - the first event is the start
            self._run = StageRun(self._spool.run_id, continued=True)
        return self._run


def deliver_rest(spool: Spool) -> Generator[None]:
    """Deliver all that is left of a run whose process is gone, then remove the spool; yields after each event.

    Raises:
        filelock.Timeout: a process that runs still has it.
        Exception: whatever the store raises.
    """
    with spool.lock.acquire(timeout=0):
        if not spool.exists():
            return
        spool.reopen()
        delivery = Delivery(spool)
        while delivery.next():
            yield
        spool.remove()


def _in_store(run_id: str) -> str:
    """As the store knows the run; the run's own id where it does not know it."""
    return (find_local(run_id) if is_local_id(run_id) else None) or run_id
