"""One MLflow run per training stage: what it stands on, what it was told, what it measured, how it ended.

What is logged goes to a spool on disk first and from there to the store, in a thread: neither a server that is down nor
one that is slow holds training up, and what could not be delivered is there for `quantart sync` or the next run.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from filelock import Timeout
from mlflow.tracking.context.registry import resolve_tags

from quantart.errors import StoppedBySignal, UserError
from quantart.tracking.courier import Courier
from quantart.tracking.labels import tags_of
from quantart.tracking.picture_files import now, write_picture
from quantart.tracking.runs import DataUsed, flatten, get_run
from quantart.tracking.spool import Spool, find_spools, is_local_id
from quantart.tracking.store import (
    Unreachable,
    configure,
    impatient,
    real_root,
    store_error,
    tracking_uri,
    without_password,
)
from quantart.tracking.system import sampled_system

SYSTEM_METRICS_SECONDS = 5.0
PROBE = 5
"""Seconds that a stage waits for a tracking server before it trains without."""
REQUEST = 60
"""Seconds that a request in the background may take."""
LOCKED = 15.0
"""Seconds to wait for a process that still delivers what the run logged before."""
KILLED_LIMIT = 10.0
"""Seconds that a run which was told to stop takes for what is left."""


class SpooledRun:
    """Writes to one run of the pipeline by way of its spool; no call waits for the store. See `StageRun`."""

    def __init__(self, spool: Spool, courier: Courier) -> None:
        self._spool = spool
        self._courier = courier

    @property
    def run_id(self) -> str:
        """In the store; before the run is there, an id that `resolve` turns into that one."""
        return self._spool.run_id or self._spool.local_id

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers (also NumPy's and 0-d tensors) under `step`."""
        self._append("metrics", values={key: float(value) for key, value in values.items()}, step=step, time=now())

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        """Log a uint8 picture `(h, w, 3)`; the UI shows one slider over the steps for each `key`."""
        folder = self._spool.new_folder()
        write_picture(folder, key, array, step)
        self._append("picture", key=key, step=step, files=folder.name)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or what is in a folder, to the run's artifacts, under `folder`; as it is now."""
        file = None if path.is_dir() else path.name
        self._append("artifact", files=self._spool.keep(path), file=file, folder=folder)

    def params(self, values: Mapping[str, Any], prefix: str) -> None:
        """Log parameters as `prefix.key.subkey`."""
        self._append("params", values=flatten(values, prefix))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self._append("tags", tags=dict(tags))

    def datasets(self, used: Sequence[DataUsed]) -> None:
        """Log the data's digests as the run's inputs."""
        self._append("datasets", datasets=[asdict(data) for data in used])

    def deliver(self) -> None:
        """Wait until all of it is in the store.

        Raises:
            Exception: what the store raised; what it did not take is dropped, but for the run's end.
        """
        if error := self._courier.wait_for_all():
            self._spool.drop_rest()
            raise error

    def samples(self, values: Mapping[str, float]) -> None:
        """Log numbers that belong to no step of training."""
        self._append("samples", values=dict(values), time=now())

    def _append(self, kind: str, **values: Any) -> None:
        self._spool.append(kind, **values)
        self._courier.wake()


@contextmanager
def stage_run(
    project: Path,
    *,
    stage: str,
    name: str,
    params: Mapping[str, Any],
    run_id: str | None = None,
    upstream: Mapping[str, str] | None = None,
    datasets: Sequence[DataUsed] = (),
) -> Iterator[SpooledRun]:
    """Track one run of a pipeline stage in the experiment `quantart`, with system metrics.

    It ends FINISHED, FAILED after an exception, or KILLED after SIGTERM or Ctrl-C (a SIGTERM that nothing else
    handles raises SystemExit(143) inside the `with`). At its end all that was logged is in the store, or a sentence
    says that it is not and what delivers it.

    Args:
        project: the project's root.
        stage: prefix of the parameters, e.g. `stage2`.
        name: e.g. `stage2_discrete`; the run's name in MLflow tells it apart from others (see `run_name`).
        params: nested; logged as `stage2.train.steps`.
        run_id: continue this run instead of making one.
        upstream: ids of the runs whose models this one stands on, by stage.
        datasets: what it reads.

    Raises:
        UserError: the store can't be used, for another reason than a server that is down, or does not have `run_id`.
    """
    tags = resolve_tags(tags_of(project, stage, upstream or {}, datasets))
    with sigterm_raises():
        spool, outage = _open(project, run_id)
        with impatient(REQUEST):
            spool.append("start", name=name, tags=tags, datasets=[asdict(data) for data in datasets], time=now())
            courier = Courier(project, real_root(project), spool, store_open=outage is None)
            courier.start()
            _check_start(courier, spool, outage)
            run = SpooledRun(spool, courier)
            status = "FAILED"
            try:
                with sampled_system(SYSTEM_METRICS_SECONDS, run.samples):
                    run.params(params, stage)
                    if datasets:
                        run.datasets(datasets)
                    yield run
                status = "FINISHED"
            except BaseException as error:
                if _was_killed(error):
                    status = "KILLED"
                raise
            finally:
                _end(courier, spool, name, status)


def _open(project: Path, run_id: str | None) -> tuple[Spool, Unreachable | None]:
    """The run's spool, locked; and the outage where the store can't be asked."""
    outage = None
    root = real_root(project)
    address = without_password(tracking_uri(root))
    try:
        configure(project, PROBE)
    except Unreachable as error:
        outage = error
    if run_id is not None:
        for spool in find_spools(root):
            if run_id in (spool.local_id, spool.run_id) and spool.address == address:
                _lock(spool)
                if spool.exists():
                    spool.reopen()
                    return spool, outage
                spool.lock.release()  # delivered in this moment
        if outage is None:
            run_id = get_run(run_id).info.run_id
    names = {"local_id": run_id} if run_id and is_local_id(run_id) else {"run_id": run_id}
    return Spool.create(root, address, **names), outage


def _lock(spool: Spool) -> None:
    try:
        spool.lock.acquire(timeout=LOCKED)
    except Timeout:
        raise UserError(
            f"{spool.folder}: another process writes this run or delivers it (`quantart sync`); try again when it ended"
        ) from None


def _check_start(courier: Courier, spool: Spool, outage: Unreachable | None) -> None:
    """Wait a little for the run to be made, so that it has its final id, and for what the store may say to that."""
    if outage is None:
        courier.wait_for_run(PROBE if spool.address.startswith("http") else None)
        if spool.run_id is None and courier.error is not None:
            said = store_error(spool.address, courier.error)
            if not isinstance(said, Unreachable):
                courier.abandon()
                if spool.delivered == 0:
                    spool.remove()
                raise said from courier.error
            outage = said
    if outage is not None:
        _say(f"{outage}. Training goes on; what it logs is kept in {spool.folder} and delivered later")


def _end(courier: Courier, spool: Spool, name: str, status: str) -> None:
    try:
        spool.append("end", status=status, time=now())
    except UserError as error:  # what ended the run is more to the point than this
        _say(str(error))
    if not _close(courier, KILLED_LIMIT if status == "KILLED" else None):
        said = f"{store_error(spool.address, courier.error)}" if courier.error else f"{spool.address}: no answer yet"
        _say(f"{said}. {spool.left()} entries of {name} are kept: `quantart sync` delivers them, or the next training")


def _close(courier: Courier, limit: float | None) -> bool:
    """See `Courier.close`; a SIGTERM while it waits leaves it `KILLED_LIMIT` seconds more."""
    try:
        return courier.close(limit)
    except SystemExit:
        courier.close(KILLED_LIMIT)
        raise


def _say(text: str) -> None:
    print(f"tracking: {text}", file=sys.stderr, flush=True)


def _was_killed(error: BaseException) -> bool:
    by_signal = isinstance(error, SystemExit) and error.code in {128 + signal.SIGTERM, 128 + signal.SIGINT}
    return by_signal or isinstance(error, (KeyboardInterrupt, StoppedBySignal))


@contextmanager
def sigterm_raises() -> Iterator[None]:
    """SIGTERM becomes an exception, so that what is open is closed; left alone where somebody handles it already."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    main = threading.current_thread() is threading.main_thread()
    ours = main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
