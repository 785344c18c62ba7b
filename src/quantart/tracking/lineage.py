"""What a run stands on: the runs before it, and the pictures that all of them read."""

from __future__ import annotations

import json
from collections.abc import Iterable

from mlflow import MlflowClient
from mlflow.entities import DatasetInput, Run
from mlflow.exceptions import MlflowException

from quantart.tracking.labels import upstream_of
from quantart.tracking.runs import DataUsed

CONTEXT = "mlflow.data.context"


def with_ancestors(runs: Iterable[Run]) -> list[Run]:
    """The runs, and all that their tags `upstream.…` lead to, nearest first; runs that are gone are left out."""
    return [run for _, run in ancestry(runs)]


def ancestry(runs: Iterable[Run]) -> list[tuple[str, Run]]:
    """As `with_ancestors`, each with its stage as the run that stands on it names it; "" for `runs` themselves."""
    found = {run.info.run_id: ("", run) for run in runs}
    waiting = [run for _, run in found.values()]
    while waiting:
        for stage, run_id in upstream_of(waiting.pop(0).data.tags).items():
            if run_id not in found and (run := run_if_there(run_id)):
                found[run_id] = (stage, run)
                waiting.append(run)
    return list(found.values())


def run_if_there(run_id: str) -> Run | None:
    """The run of the configured store, or None where it was deleted for good or never was in it.

    Raises:
        MlflowException: the store does not answer, or does not let one in.
    """
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


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
