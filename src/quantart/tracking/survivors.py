"""What the other processes of a training run do for it where the first one, which tracks it, has died."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
from filelock import Timeout
from mlflow import MlflowClient

from quantart.errors import StoppedBySignal, UserError
from quantart.tracking.delivery import deliver_rest
from quantart.tracking.picture_files import now
from quantart.tracking.session import sigterm_raises
from quantart.tracking.spool import Spool, find_spools
from quantart.tracking.store import configure, impatient, real_root, store_error

FAILED, RUNNING = "FAILED", "RUNNING"
GONE = 5.0
"""Seconds for the first process to let go of the run's spool: one that does not lives, and ends the run itself."""
PATIENCE = 5
"""Seconds for each answer of the store: who stops this process gives it 30 of them."""


@contextmanager
def ends_failed(project: Path, run_id: Callable[[], str | None]) -> Iterator[None]:
    """Where the processes lose each other, the run ends FAILED unless the first one ends it.

    What the first process logged and could not deliver any more is delivered too.

    Args:
        project: the project's root.
        run_id: of the run, once it is known.
    """
    with sigterm_raises():
        try:
            yield
        except (UserError, StoppedBySignal):
            raise  # the first process comes to the same, or finds this one gone
        except BaseException:
            with _sigterm_waits():
                if (known := run_id()) is not None:
                    _end(project, known)
            raise


def _end(project: Path, run_id: str) -> None:
    found = [spool for spool in find_spools(real_root(project)) if run_id in (spool.local_id, spool.run_id)]
    try:
        left = [spool for spool in found if _append_end(spool)]
        configure(project, PATIENCE)
        with impatient(PATIENCE):
            for spool in left:
                list(deliver_rest(spool))
            if not left and MlflowClient().get_run(run_id).info.status == RUNNING:
                MlflowClient().set_terminated(run_id, FAILED)
    except Timeout:  # the first process is there, or the next training has it already
        return
    except Exception as error:  # a store of artifacts raises what it likes
        said = error if isinstance(error, UserError) else store_error(mlflow.get_tracking_uri(), error)
        print(f"tracking: {said}; the run's end is kept and delivered later", file=sys.stderr, flush=True)


def _append_end(spool: Spool) -> bool:
    """Whether the spool is still there; raises Timeout where another process has it."""
    with spool.lock.acquire(timeout=GONE):
        if not spool.exists():
            spool.remove()  # locking made its folder anew
            return False
        spool.reopen()
        if not spool.ended():
            spool.append("end", status=FAILED, time=now())
        return True


@contextmanager
def _sigterm_waits() -> Iterator[None]:
    """Who stops the processes after one has died asks with SIGTERM first."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
