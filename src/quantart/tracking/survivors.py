"""What the other processes of a training run do for it where the first one, which tracks it, has died."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunStatus

from quantart.errors import StoppedBySignal, UserError
from quantart.tracking.store import configure


@contextmanager
def ends_failed(project: Path, run_id: Callable[[], str | None]) -> Iterator[None]:
    """Where the processes lose each other, the run ends FAILED unless the first one has ended it.

    Args:
        project: the project's root.
        run_id: of the run, once it is known.
    """
    try:
        yield
    except (UserError, StoppedBySignal):
        raise  # the first process comes to the same, or finds this one gone
    except Exception:
        known = run_id()
        if known is not None:
            configure(project)
            client = MlflowClient()
            if client.get_run(known).info.status == RunStatus.to_string(RunStatus.RUNNING):
                client.set_terminated(known, RunStatus.to_string(RunStatus.FAILED))
        raise
