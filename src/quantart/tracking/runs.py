"""What is written to an MLflow run: at once, by requests that wait for the store and fail with it.

A training stage writes through `session.stage_run` instead, which waits for nothing and calls this in the background.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.tracking.local import resolve
from quantart.tracking.picture_files import PICTURES, PICTURES_TAG, begin_of_name, now, write_picture
from quantart.tracking.store import configure, without_password

LONGEST_PARAM = 500
BATCH = 100  # MLflow takes no more parameters at once


@dataclass(frozen=True)
class DataUsed:
    """A set of pictures or codes that a run reads.

    Attributes:
        name: e.g. `content`.
        digest: sha256 of the data, in hex.
        source: folder, relative to the project where it lies inside.
        context: what the run does with it: `training`, `validation` or `test`.
        count: number of pictures.
    """

    name: str
    digest: str
    source: str
    context: str
    count: int


class StageRun:
    """Writes to one run, whether it is active or ended long ago; its status stays as it is.

    Args:
        continued: what is written may be there already, since the run goes on after a stop, or because the answer to
            the request got lost: metrics and pictures of a step that the run has are left out, as MLflow would keep
            both.
    """

    def __init__(self, run_id: str, *, continued: bool = False) -> None:
        self.run_id = run_id
        self._client = MlflowClient()
        self._continued = continued
        self._last: dict[str, tuple[int, int]] = {}

    def metrics(self, values: Mapping[str, float], step: int, time: int | None = None) -> None:
        """Log numbers (also NumPy's and 0-d tensors) under `step`, in one call; `time` in ms, None: now."""
        new = {key: value for key, value in values.items() if not self._continued or step > self._last_of(key)[0]}
        self._log(new, step, now() if time is None else time)

    def samples(self, values: Mapping[str, float], time: int) -> None:
        """Log numbers that were taken at `time` (ms) and belong to no step of training, as the next of the history."""
        lasts = [self._last_of(key) for key in values]
        if time > max(last for _, last in lasts):
            self._log(values, 1 + max(step for step, _ in lasts), time)

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        """Log a uint8 picture `(h, w, 3)`; the UI shows one slider over the steps for each `key`."""
        with TemporaryDirectory() as folder:
            write_picture(Path(folder), key, array, step)
            self.picture_files(key, step, Path(folder))

    def picture_files(self, key: str, step: int, folder: Path) -> None:
        """As `image`, of what `write_picture` wrote to `folder`; written again, it takes its own place."""
        if self._continued:
            ours = {file.name for file in folder.iterdir()}
            there = {Path(file.path).name for file in self._client.list_artifacts(self.run_id, PICTURES)}
            if any(name.startswith(begin_of_name(key, step)) for name in there - ours):
                return
        self.artifact(folder, PICTURES)
        self.set_tags({PICTURES_TAG: "True"})

    def _last_of(self, key: str) -> tuple[int, int]:
        """Highest step and time of the metric's history, -1 where there is none."""
        if key not in self._last:
            history = self._client.get_metric_history(self.run_id, key)
            step = max((metric.step for metric in history), default=-1)
            self._last[key] = step, max((metric.timestamp for metric in history), default=-1)
        return self._last[key]

    def _log(self, values: Mapping[str, float], step: int, time: int) -> None:
        if values:
            batch = [Metric(key, float(value), time, step) for key, value in values.items()]
            self._client.log_batch(self.run_id, metrics=batch)
            self._last |= {key: (step, time) for key in values}

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or what is in a folder, to the run's artifacts, under `folder`."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self.run_id, str(path), folder)

    def params(self, values: Mapping[str, Any], prefix: str) -> None:
        """Log parameters as `prefix.key.subkey`.

        MLflow never changes a parameter; one that was logged before with another value, by the run that is being
        continued, stays, and its new value becomes the tag `latest.<parameter>`.
        """
        self.flat_params(flatten(values, prefix))

    def flat_params(self, flat: Mapping[str, str]) -> None:
        """As `params`, of what `flatten` made."""
        known = self._client.get_run(self.run_id).data.params
        new = [Param(key, value) for key, value in flat.items() if key not in known]
        for start in range(0, len(new), BATCH):
            self._client.log_batch(self.run_id, params=new[start : start + BATCH])
        self.set_tags({f"latest.{key}": value for key, value in flat.items() if known.get(key, value) != value})

    def set_tags(self, tags: Mapping[str, str]) -> None:
        for key, value in tags.items():
            self._client.set_tag(self.run_id, key, value)

    def datasets(self, used: Sequence[DataUsed]) -> None:
        """Log the data's digests as the run's inputs."""
        self._client.log_inputs(self.run_id, [_dataset_input(data) for data in used])


def open_run(project: Path, run_id: str) -> StageRun:
    """A run to add to, without waking it: evaluation writes to a training run that ended.

    Raises:
        UserError: the store can't be used or does not have this run.
    """
    configure(project)
    return StageRun(get_run(run_id).info.run_id)


def flatten(values: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Nested parameters as `prefix.key.subkey` to text; what is not text is written as in JSON."""
    flat: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}.{key}")
        else:
            text = value if isinstance(value, str) else json.dumps(value)
            flat[f"{prefix}.{key}"] = text if len(text) <= LONGEST_PARAM else f"{text[: LONGEST_PARAM - 1]}…"
    return flat


def get_run(run_id: str) -> Run:
    """The run with this id, in the store that is configured.

    Raises:
        UserError: it is not there.
    """
    try:
        return MlflowClient().get_run(resolve(run_id))
    except MlflowException as error:
        store = without_password(mlflow.get_tracking_uri())
        raise UserError(
            f"run {run_id} is not in the tracking store {store} ({error}); `dvc repro -f` makes new runs, "
            "after removing .quantart/checkpoints where training was to go on"
        ) from None


def _dataset_input(data: DataUsed) -> DatasetInput:
    dataset = Dataset(
        name=data.name,
        digest=data.digest[:32],  # MLflow's column holds 36 characters; the whole digest is in the profile
        source_type="local",
        source=json.dumps({"uri": data.source}),
        profile=json.dumps({"pictures": data.count, "sha256": data.digest}),
    )
    return DatasetInput(dataset, [InputTag("mlflow.data.context", data.context)])
