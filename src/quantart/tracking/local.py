"""Ids of runs that began while the tracking server was down.

The project gives such a run an id of its own, which stands in `runs/<stage>.json` and in the checkpoints for good; once
the run is in the store, its tag `local_id` says which one it is.
"""

from __future__ import annotations

from mlflow import MlflowClient

from quantart.errors import UserError
from quantart.tracking.spool import is_local_id
from quantart.tracking.store import EXPERIMENT

LOCAL_ID = "local_id"


def find_local(local_id: str) -> str | None:
    """Id in the store of the run with this tag, if it is there."""
    client = MlflowClient()
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found = client.search_runs([experiment.experiment_id], f"tags.{LOCAL_ID} = '{local_id}'") if experiment else []
    return found[0].info.run_id if found else None


def resolve(run_id: str) -> str:
    """The run's id in the store; one that the store gave stays as it is.

    Raises:
        UserError: nothing of the run is in the store yet.
    """
    if not is_local_id(run_id):
        return run_id
    if found := find_local(run_id):
        return found
    raise UserError(
        f"run {run_id}: began while the tracking server was down and is not there yet: run `quantart sync` where it "
        "was trained; if its .quantart/spool is gone, train it again"
    )
