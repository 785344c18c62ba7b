"""Writes to runs of the configured store at once. What a training logs waits in a spool first, see `runs`."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags

from quantart.errors import StoppedBySignal
from quantart.machine.interrupt import sigterm_raises
from quantart.tracking import store
from quantart.tracking.find import check_there
from quantart.tracking.lineage import DataUsed, description, run_name, tags_of
from quantart.tracking.spool import now
from quantart.vocabulary.keys import flatten

BATCH = 100  # parameters, or tags, that MLflow takes at once
LONGEST_PARAM = 500
TABLES = "mlflow.loggedArtifacts"  # tag by which MLflow's page finds tables
REFUSED = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}  # a run that was deleted, or is gone


class TrackedRun:
    """Writes to one run of the store. Each call returns when what it logs is there.

    Raises:
        UserError: the store does not answer or refuses it, or the run was deleted.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self._client = MlflowClient()

    @classmethod
    def create(cls, name: str, tags: Mapping[str, str], time: int) -> TrackedRun:
        """A new run that began at `time` (ms since 1970); for its name see `run_name`."""
        client = MlflowClient()
        with named_errors():
            experiment = client.get_experiment_by_name(store.EXPERIMENT)
            store.check_files(experiment.artifact_location)
            run_id = client.create_run(experiment.experiment_id, time, dict(tags), name).info.run_id
            client.update_run(run_id, name=run_name(name, tags, run_id))
        return cls(run_id)

    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:
        """Log numbers (NumPy's and 0-d tensors too) under `step`; they are measured at `time`, None: now."""
        with named_errors(self.run_id):
            batch = [Metric(key, float(value), time or now(), step) for key, value in values.items()]
            self._client.log_batch(self.run_id, metrics=batch)

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        """Log a uint8 picture `(h, w, 3)`; the UI shows one slider over the steps for each `key`."""
        with named_errors(self.run_id):
            self._client.log_image(self.run_id, array, key=key, step=step)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or the content of a folder, to the run's artifacts, under `folder`."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        with named_errors(self.run_id):
            log(self.run_id, str(path), folder)

    def table(self, table: pd.DataFrame, file: str) -> None:
        """Log a table, which MLflow's page shows, as this file of the run's artifacts in place of an earlier one.

        MLflow's own `log_table` adds rows to those that are there.
        """
        name = PurePosixPath(file)
        with TemporaryDirectory() as folder:
            table.to_json(Path(folder, name.name), orient="split", index=False)
            self.artifact(Path(folder), str(name.parent))
        with named_errors(self.run_id):
            known = json.loads(self._client.get_run(self.run_id).data.tags.get(TABLES, "[]"))
        entry = {"path": file, "type": "table"}
        self.set_tags({TABLES: json.dumps(known if entry in known else [*known, entry])})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        with named_errors(self.run_id):
            for batch in _batches([RunTag(key, value) for key, value in tags.items()]):
                self._client.log_batch(self.run_id, tags=batch)

    def params(self, values: Mapping[str, str]) -> None:
        """Log parameters; one that the run has with another value, which MLflow keeps, becomes a tag `latest.…`."""
        with named_errors(self.run_id):
            known = self._client.get_run(self.run_id).data.params
            new = [Param(key, value) for key, value in values.items() if key not in known]
            for batch in _batches(new):
                self._client.log_batch(self.run_id, params=batch)
        self.set_tags({f"latest.{key}": value for key, value in values.items() if known.get(key, value) != value})

    def datasets(self, used: Sequence[DataUsed]) -> None:
        """Log the data's digests as the run's inputs."""
        with named_errors(self.run_id):
            self._client.log_inputs(self.run_id, [data.as_input() for data in used])

    def end(self, status: str, time: int) -> None:
        with named_errors(self.run_id):
            self._client.set_terminated(self.run_id, status, time)


def _batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


@contextmanager
def named_errors(run_id: str | None = None) -> Iterator[None]:
    """Turns an error of the store into a `UserError` that says what is wrong, also with the run."""
    try:
        yield
    except Exception as error:  # artifact stores raise anything
        if run_id and isinstance(error, MlflowException) and error.error_code in REFUSED:
            check_there(run_id)
        raise store.store_error(mlflow.get_tracking_uri(), error) from error


@contextmanager
def new_run(project: Path, *, family: str, name: str, params: Mapping[str, Any]) -> Iterator[TrackedRun]:
    """A new run of the project's store, for work that needs it; arguments and end are as of `runs.stage_run`."""
    store.configure(project)
    with sigterm_raises(), store.impatient(store.REQUEST):
        tags = resolve_tags(tags_of(project, family, {}, ()))
        run = TrackedRun.create(name, tags | {"mlflow.note.content": description(name, tags, ())}, now())
        run.params(logged_params(params, family))
        with status_on_exit(lambda status: run.end(status, now())):
            yield run


def logged_params(values: Mapping[str, Any], family: str) -> dict[str, str]:
    """Nested parameters to text by dotted keys, all under their family; what is not text is written as in JSON."""
    logged: dict[str, str] = {}
    for key, value in flatten(values).items():
        text = value if isinstance(value, str) else json.dumps(value)
        cut = f"{text[: LONGEST_PARAM - 1]}…" if len(text) > LONGEST_PARAM else text
        logged[f"{family}.{key.removeprefix(f'{family}.')}"] = cut
    return logged


@contextmanager
def status_on_exit(end: Callable[[str], None]) -> Iterator[None]:
    """Call `end` with the status in which the block ends."""
    status = "FAILED"
    try:
        yield
        status = "FINISHED"
    except BaseException as error:
        by_signal = isinstance(error, SystemExit) and error.code in {128 + signal.SIGTERM, 128 + signal.SIGINT}
        if by_signal or isinstance(error, (KeyboardInterrupt, StoppedBySignal)):
            status = "KILLED"
        raise
    finally:
        end(status)
