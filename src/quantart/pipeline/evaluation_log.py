"""An evaluation as it is kept with the run that it measured."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient

from quantart.evaluation.methods import ADAIN, COPIED_CONTENT, COPIED_STYLE
from quantart.pipeline.measure import Result
from quantart.reporting.record import NEEDED, About, Record, write_record
from quantart.reporting.run_metrics import count_name, digest_name, logged_values, outdated
from quantart.tracking.lineage import DataUsed
from quantart.tracking.writer import TrackedRun
from quantart.vocabulary.metrics import MODEL

_KEPT_PICTURES = (COPIED_CONTENT, COPIED_STYLE, MODEL, ADAIN)
_ROUNDING = 1e-4  # by which another batch size or device may differ
_TABLES_TAG = "mlflow.loggedArtifacts"


def log_evaluation(run: TrackedRun, result: Result, about: About, prefix: str, datasets: Sequence[DataUsed]) -> bool:
    """Log metrics with their intervals, the record, its table, pictures and the data's digest under `prefix`.

    A sweep becomes no metrics. Another evaluation under the same prefix takes the record's place; its metrics become
    the next step of the history, in which what it did not measure is NaN. While they are replaced, the run has no
    digest. False where the same was logged before, and its record is there; then nothing is.
    """
    client, evaluation, sweep = MlflowClient(), result.evaluation, result.sweep
    known = client.get_run(run.run_id).data
    values = {count_name(prefix): float(about.n)} | logged_values({} if sweep else evaluation.summary, prefix)
    old = outdated(known.metrics, values, prefix)
    same = known.tags.get(digest_name(prefix)) == about.digest and not old and _alike(values, known.metrics)
    if same and record_files(run.run_id, prefix) >= set(NEEDED):
        return False
    if digest_name(prefix) in known.tags:
        client.delete_tag(run.run_id, digest_name(prefix))
    step = 1 + max((m.step for m in client.get_metric_history(run.run_id, count_name(prefix))), default=-1)
    record = Record(
        about,
        evaluation.table,
        evaluation.summary_table(),
        evaluation.features,
        {pair: {m: each[m] for m in _KEPT_PICTURES if m in each} for pair, each in evaluation.samples.items()},
    )
    with TemporaryDirectory() as folder:
        write_record(Path(folder), record)
        # as MLflow's own log_table writes it, which would add the rows to those of an evaluation before
        evaluation.table.to_json(Path(folder) / "table.json", orient="split", index=False)
        if sweep:
            sweep.write(Path(folder))
        run.artifact(Path(folder), prefix)
    for name, picture in result.images.items():
        run.image(f"{prefix}/{name}", picture, step)
    run.datasets(datasets)
    run.metrics(values | dict.fromkeys(old, math.nan), step)
    run.set_tags({_TABLES_TAG: _tables(known.tags.get(_TABLES_TAG), f"{prefix}/table.json")})
    # last: an evaluation that was stopped in the middle is logged again
    run.set_tags({digest_name(prefix): about.digest})
    return True


def record_files(run_id: str, prefix: str) -> set[str]:
    """Names of the files and folders that a run holds of an evaluation.

    Raises:
        MlflowException, OSError: the run's artifacts can't be listed.
    """
    return {Path(file.path).name for file in MlflowClient().list_artifacts(run_id, prefix)}


def _alike(values: Mapping[str, float], known: Mapping[str, float]) -> bool:
    return all(
        math.isclose(value, known.get(name, math.nan), rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        for name, value in values.items()
    )


def _tables(known: str | None, path: str) -> str:
    """The tag by which MLflow's page finds tables."""
    tables = json.loads(known) if known else []
    entry = {"path": path, "type": "table"}
    return json.dumps(tables if entry in tables else [*tables, entry])
