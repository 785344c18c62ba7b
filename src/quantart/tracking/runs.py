"""One MLflow run per training stage: what it stands on, what it was told, what it measured, how it ended."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run
from mlflow.exceptions import MlflowException

from quantart.errors import StoppedBySignal, UserError
from quantart.tracking.labels import describe, run_name, tags_of
from quantart.tracking.store import configure, without_password

SYSTEM_METRICS_SECONDS = 5
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
        continued: the run goes on after a stop: what it logged between its last checkpoint and the stop comes again
            and is left out, since MLflow would keep both.
    """

    def __init__(self, run_id: str, *, continued: bool = False) -> None:
        self.run_id = run_id
        self._client = MlflowClient()
        self._continued = continued
        self._last_steps: dict[str, int] = {}

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Log numbers (also NumPy's and 0-d tensors) under `step`, in one call."""
        now = int(time.time() * 1000)
        new = [Metric(k, float(v), now, step) for k, v in values.items() if self._is_new(k, step)]
        if new:
            self._client.log_batch(self.run_id, metrics=new)

    def image(self, key: str, array: np.ndarray, step: int) -> None:
        """Log a uint8 picture `(h, w, 3)`; the UI shows one slider over the steps for each `key`."""
        if self._continued and self._has_picture(key, step):
            return
        self._client.log_image(self.run_id, array, key=key, step=step, synchronous=True)

    def _has_picture(self, key: str, step: int) -> bool:
        begin = f"images/{key.replace('/', '~')}+step+{step}+"  # as MLflow names them
        return any(file.path.startswith(begin) for file in self._client.list_artifacts(self.run_id, "images"))

    def _is_new(self, key: str, step: int) -> bool:
        if not self._continued:
            return True
        if key not in self._last_steps:
            history = self._client.get_metric_history(self.run_id, key)
            self._last_steps[key] = max((metric.step for metric in history), default=-1)
        return step > self._last_steps[key]

    def artifact(self, path: Path, folder: str | None = None) -> None:
        """Copy a file, or what is in a folder, to the run's artifacts, under `folder`."""
        log = self._client.log_artifacts if path.is_dir() else self._client.log_artifact
        log(self.run_id, str(path), folder)

    def params(self, values: Mapping[str, Any], prefix: str) -> None:
        """Log parameters as `prefix.key.subkey`.

        MLflow never changes a parameter; one that was logged before with another value, by the run that is being
        continued, stays, and its new value becomes the tag `latest.<parameter>`.
        """
        known = self._client.get_run(self.run_id).data.params
        flat = flatten(values, prefix)
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
    _find(run_id)
    return StageRun(run_id)


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
) -> Iterator[StageRun]:
    """Track one run of a pipeline stage in the experiment `quantart`, with system metrics.

    It ends FINISHED, FAILED after an exception, or KILLED after SIGTERM or Ctrl-C (a SIGTERM that nothing else
    handles raises SystemExit(143) inside the `with`).

    Args:
        project: the project's root.
        stage: prefix of the parameters, e.g. `stage2`.
        name: e.g. `stage2_discrete`; the run's name in MLflow tells it apart from others (see `run_name`).
        params: nested; logged as `stage2.train.steps`.
        run_id: continue this run instead of making one.
        upstream: ids of the runs whose models this one stands on, by stage.
        datasets: what it reads.

    Raises:
        UserError: the store can't be used, or does not have `run_id`.
    """
    configure(project)
    if run_id is not None:
        _find(run_id)
    tags = tags_of(project, stage, upstream or {}, datasets)
    mlflow.set_system_metrics_sampling_interval(SYSTEM_METRICS_SECONDS)
    mlflow.set_system_metrics_samples_before_logging(1)
    with _sigterm_raises():
        active = mlflow.start_run(
            run_id=run_id,
            tags=tags,
            description=describe(name, tags, datasets),
            log_system_metrics=True,
        )
        if run_id is None:
            MlflowClient().update_run(active.info.run_id, name=run_name(name, active.info.run_id))
        status = "FAILED"
        try:
            run = StageRun(active.info.run_id, continued=run_id is not None)
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
            mlflow.end_run(status)


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


def _find(run_id: str) -> Run:
    try:
        return MlflowClient().get_run(run_id)
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


def _was_killed(error: BaseException) -> bool:
    by_signal = isinstance(error, SystemExit) and error.code in {128 + signal.SIGTERM, 128 + signal.SIGINT}
    return by_signal or isinstance(error, (KeyboardInterrupt, StoppedBySignal))


@contextmanager
def _sigterm_raises() -> Iterator[None]:
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
