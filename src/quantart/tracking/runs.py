"""The runs of trainings: what a run stands on, what it was told, what it measured, how it ended.

Everything that is logged is an event in a spool on disk, from which a thread brings it to MLflow: a server that is down
or slow does not hold training up, and what could not be delivered waits for the next training or `quantart sync`.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from filelock import Timeout
from mlflow.tracking.context.registry import resolve_tags

from quantart.errors import StoppedBySignal, UserError
from quantart.machine.interrupt import sigterm_raises
from quantart.machine.root import real_root
from quantart.tracking import store
from quantart.tracking.courier import PROBE, Courier, sampled_system
from quantart.tracking.delivery import sync
from quantart.tracking.lineage import DataUsed, tags_of
from quantart.tracking.spool import ARTIFACT, METRICS, START, TAGS, Spool, find_spools, is_local_id, now
from quantart.tracking.writer import HAS_IMAGES, IMAGES, logged_params, status_on_exit, write_picture

SYSTEM_METRICS_SECONDS = 5.0
LOCKED = 15.0  # seconds to wait for a process that still delivers what the run logged before


class SpooledRun:
    """As `TrackedRun`, but each call adds events to the run's spool, which are delivered later."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool

    @property
    def run_id(self) -> str:
        """The id in the store; before the run is there, a local id, which `find.resolve` turns into the store's."""
        return self._spool.run_id or self._spool.local_id

    def metrics(self, values: Mapping[str, float], step: int | None) -> None:
        """Log numbers (NumPy's and 0-d tensors too) under `step`; None: they belong to no step of training."""
        numbers = {key: float(value) for key, value in values.items()}
        self._spool.append(METRICS, values=numbers, step=step, time=now())

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        """Log a uint8 picture `(h, w, 3)`; the UI shows one slider over the steps for each `key`."""
        folder = self._spool.new_folder()
        write_picture(folder, key, array, step)
        self._spool.append(ARTIFACT, files=folder.name, folder=IMAGES)
        self.set_tags(HAS_IMAGES)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or the content of a folder, as it is now to the run's artifacts, under `folder`."""
        self._spool.append(ARTIFACT, files=self._spool.keep(path), folder=folder)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._spool.append(TAGS, values=dict(tags))


@contextmanager
def stage_run(
    project: Path,
    *,
    family: str,
    name: str,
    params: Mapping[str, Any],
    run_id: str | None = None,
    upstream: Mapping[str, str] | None = None,
    datasets: Sequence[DataUsed] = (),
) -> Iterator[SpooledRun]:
    """Track one run of a training stage, with system metrics; no call waits for the store.

    It ends FINISHED, FAILED after an exception, or KILLED after SIGTERM or Ctrl-C (a SIGTERM that nothing else
    handles raises SystemExit(143) inside the `with`). If not everything is in the store by then, a warning says so.

    Args:
        family: of stages, e.g. `stage2`: the tag `stage`, and what the logged parameters begin with.
        name: of the stage, e.g. `stage2_discrete`; for the run's name in MLflow see `run_name`.
        params: nested; logged as `stage2.train.steps`, whether given under `train` or under `stage2`. One that a resume
            changes becomes the tag `latest.<parameter>`.
        run_id: continue this run instead of making one.
        upstream: ids of the runs whose models this one stands on, by stage.

    Raises:
        UserError: the store can't be used for another reason than an outage, or does not have `run_id`.
    """
    tags = resolve_tags(tags_of(project, family, upstream or {}, datasets))  # before the spool makes a new file
    used = [asdict(data) for data in datasets]
    with sigterm_raises():
        spool = _open_spool(project, run_id)
        with store.impatient(store.REQUEST):
            spool.append(START, name=name, tags=tags, params=logged_params(params, family), datasets=used, time=now())
            courier = Courier(project, spool)  # its thread configures MLflow, then delivers what the spool holds
            courier.begin()
            run = SpooledRun(spool)
            with (
                status_on_exit(partial(courier.end, name)),
                sampled_system(SYSTEM_METRICS_SECONDS, lambda values: run.metrics(values, None)),
            ):
                yield run


@contextmanager
def stands_in(project: Path) -> Iterator[None]:
    """For the other processes of a training: if the one that tracks it was killed, deliver what it left, as FAILED."""
    with sigterm_raises():
        try:
            yield
        except (UserError, StoppedBySignal):
            raise  # the tracking process stops for the same reason, or notices that this one is gone
        except BaseException:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the launcher stops the others when one has died
            with suppress(UserError):
                sync(project, wait=PROBE, patience=PROBE)
            raise


def _open_spool(project: Path, run_id: str | None) -> Spool:
    """The run's spool, locked: what is left of an interrupted run, or a new one."""
    root = real_root(project)
    address = store.without_password(store.tracking_uri(root))
    for spool in find_spools(root, address) if run_id else []:
        try:
            if run_id in (spool.local_id, spool.run_id) and spool.take(LOCKED):
                return spool
        except Timeout:
            fault = f"{spool.folder}: another process writes this run or delivers it (`quantart sync`)"
            raise UserError(fault, "try again when that has ended") from None
    local = run_id if run_id and is_local_id(run_id) else None
    return Spool.create(root, address, local_id=local, run_id=None if local else run_id)
