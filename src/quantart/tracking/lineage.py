"""What a run stands on: the runs before it, and the pictures that all of them read."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run
from mlflow.exceptions import MlflowException

from quantart.tracking.runs import DataUsed

UPSTREAM = "upstream."
CONTEXT = "mlflow.data.context"


def with_ancestors(runs: Iterable[Run]) -> list[Run]:
    """The runs, and all that their tags `upstream.…` lead to, nearest first; runs that are gone are left out."""
    client = MlflowClient()
    found = {run.info.run_id: run for run in runs}
    waiting = list(found.values())
    while waiting:
        run = waiting.pop(0)
        for run_id in (value for key, value in run.data.tags.items() if key.startswith(UPSTREAM)):
            if run_id in found:
                continue
            try:
                found[run_id] = client.get_run(run_id)
            except MlflowException:
                continue
            waiting.append(found[run_id])
    return list(found.values())


def data_of(runs: Iterable[Run]) -> list[DataUsed]:
    """The pictures that the runs logged as their inputs, each set once for each thing that was done with it."""
    found = {_data_used(used): None for run in runs for used in run.inputs.dataset_inputs}
    return sorted(found, key=lambda used: (used.context, used.name, used.source, used.digest))


def _data_used(used: DatasetInput) -> DataUsed:
    """The inverse of what `StageRun.datasets` logs."""
    profile = json.loads(used.dataset.profile)
    context = next((tag.value for tag in used.tags if tag.key == CONTEXT), "")
    source = json.loads(used.dataset.source)["uri"]
    return DataUsed(used.dataset.name, profile["sha256"], source, context, profile["pictures"])
