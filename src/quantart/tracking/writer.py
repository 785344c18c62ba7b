"""Writes to runs of the configured store at once. What a training logs waits in a spool first, see `runs`."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_IMAGES, MLFLOW_RUN_NAME
from PIL import Image

from quantart.errors import StoppedBySignal
from quantart.machine.interrupt import sigterm_raises
from quantart.tracking import store
from quantart.tracking.find import check_there
from quantart.tracking.lineage import DataUsed, description, run_name, tags_of
from quantart.tracking.spool import now
from quantart.vocabulary.keys import flatten

LONGEST_PARAM = 500
THUMBNAIL = 256
IMAGES, HAS_IMAGES = "images", {MLFLOW_LOGGED_IMAGES: "True"}  # folder and tag by which MLflow's page finds pictures
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

    def log(
        self,
        metrics: Sequence[Metric] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """Log together, in as few requests as MLflow needs."""
        named = [Param(key, value) for key, value in (params or {}).items()]
        with named_errors(self.run_id):
            self._client.log_batch(self.run_id, metrics, named, [RunTag(*tag) for tag in (tags or {}).items()])

    def metrics(self, values: Mapping[str, float], step: int, tags: Mapping[str, str] | None = None) -> None:
        """Log numbers (NumPy's and 0-d tensors too) under `step`, and tags, which are there no sooner than these."""
        self.log(points(values, step, now()), tags=tags)

    def images(self, pictures: Mapping[str, np.ndarray], step: int) -> None:
        """Log pictures as `write_picture` makes them; MLflow's page shows those of runs with the tag `HAS_IMAGES`."""
        with TemporaryDirectory() as folder:
            for key, picture in pictures.items():
                write_picture(Path(folder), key, picture, step)
            self.artifact(Path(folder), IMAGES)

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or the content of a folder, to the run's artifacts, under `folder`."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        with named_errors(self.run_id):
            log(self.run_id, str(path), folder)

    def table(self, table: pd.DataFrame, file: str) -> None:
        """Log a table, which MLflow's page shows, as this file of the run's artifacts in place of an earlier one.

        MLflow's own `log_table` adds rows to those that are there.
        """
        with named_errors(self.run_id):
            self._client.log_text(self.run_id, table_text(table), file)
            known = self._client.get_run(self.run_id).data.tags
        self.set_tags(table_tag(file, known))

    def set_tags(self, tags: Mapping[str, str]) -> None:
        self.log(tags=tags)

    def begin(self, run: Run, name: str, params: Mapping[str, str], tags: Mapping[str, str]) -> None:
        """Log what the run was told: a new one, which gets its name, or one that goes on.

        A parameter that it has otherwise, which MLflow keeps, becomes the tag `latest.…`.
        """
        known = run.data.params
        latest = {f"latest.{key}": value for key, value in params.items() if known.get(key, value) != value}
        named = {MLFLOW_RUN_NAME: run_name(name, tags, self.run_id)} if run.info.run_name == name else {}
        self.log(params={k: value for k, value in params.items() if k not in known}, tags={**tags, **latest, **named})

    def datasets(self, used: Sequence[DataUsed]) -> None:
        """Log the data's digests as the run's inputs."""
        with named_errors(self.run_id):
            self._client.log_inputs(self.run_id, [data.as_input() for data in used])

    def end(self, status: str, time: int) -> None:
        with named_errors(self.run_id):
            self._client.set_terminated(self.run_id, status, time)


def create_run(name: str, tags: Mapping[str, str], time: int) -> Run:
    """A new run that began at `time` (ms since 1970), before `TrackedRun.begin`."""
    client = MlflowClient()
    with named_errors():
        experiment = client.get_experiment_by_name(store.EXPERIMENT)
        store.check_files(experiment.artifact_location)
        return client.create_run(experiment.experiment_id, time, dict(tags), name)


def points(values: Mapping[str, float], step: int, time: int) -> list[Metric]:
    """Numbers (NumPy's and 0-d tensors too) that were measured at `time` (ms since 1970), as MLflow takes them."""
    return [Metric(key, float(value), time, step) for key, value in values.items()]


def write_picture(folder: Path, key: str, array: np.ndarray, step: int) -> None:
    """Write a uint8 picture `(h, w, 3)` and its thumbnail as files for `IMAGES`.

    MLflow's page shows one slider over the steps for each `key`. The names are those that its `log_image` gives, but
    for the time and the random id, so that what is logged for the same step again takes the place of the former.
    """
    name = f"{key.replace('/', '~')}+step+{step}+timestamp+0+{uuid.UUID(int=0)}"
    picture = Image.fromarray(array)
    picture.save(folder / f"{name}.png")
    picture.thumbnail((THUMBNAIL, THUMBNAIL))
    picture.save(folder / f"{name}+compressed.webp")


def table_text(table: pd.DataFrame) -> str:
    """A table as MLflow's page shows those among a run's artifacts."""
    return str(table.to_json(orient="split", index=False))


def table_tag(file: str, known: Mapping[str, str]) -> dict[str, str]:
    """The tag by which MLflow's page finds a table among a run's artifacts, beside those in the tags `known`."""
    tables, entry = json.loads(known.get(TABLES, "[]")), {"path": file, "type": "table"}
    return {TABLES: json.dumps(tables if entry in tables else [*tables, entry])}


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
        tags |= {"mlflow.note.content": description(name, tags, ())}
        begun = create_run(name, tags, now())
        run = TrackedRun(begun.info.run_id)
        run.begin(begun, name, logged_params(params, family), tags)
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
