"""Runs of the store, by what a user types or a file says: an id, the beginning of one, a name, a link, a filter.

A run that began without its tracking server has a local id, which `runs/<stage>.json` and the checkpoints keep for
good. Once the run is in the store, its tag `local_id` says which one it is.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Run, ViewType
from mlflow.exceptions import MlflowException

from quantart.errors import UserError, one_line
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.spool import is_local_id
from quantart.tracking.store import EXPERIMENT, restore, without_password

FINISHED = "FINISHED"
STAGE_2 = "tags.stage = 'stage2'"
LOCAL_ID = "local_id"
SHORT_ID = 8  # characters of an id that are shown
_SHORTEST_PREFIX, _WHOLE = 4, 32
_ID = re.compile(rf"[0-9a-f]{{{_SHORTEST_PREFIX},{_WHOLE}}}")
_MOST, _SHOWN = 1000, 8  # runs that are looked at, and named in a message, where one is wanted
_ALL = 1_000_000


def find_run(text: str) -> Run:
    """The one run that `text` names in the configured store, in any experiment.

    It is an id, the beginning of one (at least 4 characters), a name that no other run has, or the part of such a name
    before its `@`.

    Raises:
        UserError: there is none; there are several, which are listed; it was deleted; or it has not been delivered to
            the store yet.
    """
    text = resolve(text.strip())
    named = _named(text)
    found = [run for run in named if not is_deleted(run)]
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join([*map(run_in_words, found[:_SHOWN]), *(["…"] if len(found) > _SHOWN else [])])
        raise UserError(f"run {text}: names {len(found)} runs: {shown}", "give more characters of the id")
    raise deleted_run(named[0]) if named else missing_run(text)


def _named(text: str) -> list[Run]:
    """Deleted ones too."""
    candidates: list[Run] = []
    if _ID.fullmatch(text):
        if len(text) == _WHOLE and (whole := run_if_there(text)):
            return [whole]
        candidates = _search(f"attributes.run_id LIKE '{text}%'", _MOST, kind=ViewType.ALL)
    for pattern in (_pattern(text), f"{_pattern(text)}@%"):
        named = _search(f"attributes.run_name LIKE '{pattern}'", _MOST, kind=ViewType.ALL)
        candidates += [run for run in named if text in (run.info.run_name, run.info.run_name.partition("@")[0])]
    return list({run.info.run_id: run for run in candidates}.values())


def deleted_run(run: Run) -> UserError:
    """Says that the run was deleted, and how it comes back."""
    return UserError(f"run {run_in_words(run)} was deleted in the tracking store", restore("run", run.info.run_id))


def check_there(run_id: str) -> Run:
    """The run with this id; a `UserError` if the store lacks it, or if it was deleted there."""
    if (run := run_if_there(run_id)) is None:
        raise missing_run(run_id)
    if is_deleted(run):
        raise deleted_run(run)
    return run


def latest_points(run: Run) -> dict[str, Metric]:
    """The last point of each metric's history: that of the highest step and, within it, the latest."""
    return {point.key: Metric.from_proto(point) for point in run.data.to_proto().metrics}


def missing_run(text: str) -> UserError:
    """Says that the store has no run of this id or name."""
    remedy = "`dvc repro -f` makes new runs"
    if len(text) < _SHORTEST_PREFIX:
        remedy = f"give at least {_SHORTEST_PREFIX} characters of an id"
    return UserError(f"run {text} is not in the tracking store {_store()}", remedy)


def linked_run(path: Path) -> Run | None:
    """The run that `runs/<stage>.json` at `path` names; None without the file, or if the store lacks the run."""
    if not path.is_file():
        return None
    known = store_id(read_link(path).run_id)
    run = run_if_there(known) if known else None
    return None if run is None or is_deleted(run) else run


def is_deleted(run: Run) -> bool:
    return bool(run.info.lifecycle_stage == LifecycleStage.DELETED)


def run_if_there(run_id: str) -> Run | None:
    """The run with this id, deleted or not; None if the store does not have it. MLflow's error if it can't be asked."""
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def store_id(run_id: str) -> str | None:
    """The store's id of a run that may have a local one; None if it has, and the run is not in the store yet."""
    if not is_local_id(run_id):
        return run_id
    found = _search(f"tags.{LOCAL_ID} = '{run_id}'", 1, EXPERIMENT, ViewType.ALL)
    return found[0].info.run_id if found else None


def resolve(run_id: str) -> str:
    """As `store_id`; a `UserError` if the run is not in the store yet."""
    if known := store_id(run_id):
        return known
    raise UserError(
        f"run {run_id}: it began while the tracking server was down, and is not in the store yet",
        "run `quantart sync` where it was trained; if its .quantart/spool is gone, train it again",
    )


def select_runs(last: int | None = None, experiment: str | None = None, filter: str | None = None) -> list[Run]:
    """Finished runs, oldest first: the latest `last` (or all) of those in `experiment` (or any) that match `filter`.

    The filter is in MLflow's search language; by default it is `STAGE_2`, the style transfer networks.
    """
    known = sorted(each.name for each in mlflow.search_experiments())
    if experiment is not None and experiment not in known:
        fault = f"experiment {experiment} is not in the tracking store {_store()}"
        raise UserError(fault, f"choose one of: {', '.join(known)}")
    condition = f"attributes.status = '{FINISHED}' and {filter or STAGE_2}"
    try:
        return _search(condition, last or _ALL, experiment)[::-1]
    except MlflowException as error:
        if filter is None:
            raise
        remedy = "write for example \"params.`stage2.variant` = 'discrete'\""
        raise UserError(f"filter {filter!r}: {one_line(error)}", remedy) from None


def find_model(run: Run, folder: Path) -> Path:
    """Copy the network that a run trained into `folder`, and return the model's folder there.

    Raises:
        UserError: the run has not finished, has no model, or the model's files are gone.
    """
    check_finished(run)
    run_id, name, uri = run.info.run_id, f"run {run_in_words(run)}", without_password(run.info.artifact_uri)
    try:
        if not MlflowClient().list_artifacts(run_id, RunLink.model):
            # a run that logged metrics while it trained has logged its model at the end
            if run.data.metrics and not MlflowClient().list_artifacts(run_id):
                raise UserError(f"{name}: its model's files are gone: {uri} is empty")
            raise UserError(f"{name} has no model at {uri}/{RunLink.model}", "name a run that trained or imported one")
        return Path(mlflow.artifacts.download_artifacts(None, run_id, RunLink.model, str(folder)))
    except (MlflowException, OSError) as error:
        raise UserError(f"{name}: its model's files at {uri}/{RunLink.model} are gone ({one_line(error)})") from error


def logged_files(run_id: str, folder: str) -> set[str]:
    """Names of the files and folders that a run holds in a folder of its artifacts.

    Raises:
        MlflowException, OSError: the run's artifacts can't be listed.
    """
    return {Path(file.path).name for file in MlflowClient().list_artifacts(run_id, folder)}


def logged_table(run_id: str, place: str) -> str:
    """A table among a run's artifacts, as a line of JSON for each row; empty where it has none.

    Raises:
        MlflowException, OSError, ValueError: it can't be fetched, or is no table.
    """
    if Path(place).name not in logged_files(run_id, str(Path(place).parent)):
        return ""
    text = mlflow.artifacts.load_text(f"runs:/{run_id}/{place}")
    table = pd.read_json(io.StringIO(text), orient="split", dtype=False, convert_dates=False)
    return str(table.to_json(orient="records", lines=True))


def check_finished(run: Run) -> None:
    """Raise a `UserError` that names the status if a run failed, was stopped, or is still going on."""
    if run.info.status != FINISHED:
        fault = f"run {run_in_words(run)} is {run.info.status}, and only a training run that finished has a model"
        running = run.info.status == "RUNNING"
        raise UserError(fault, "if it ended, `quantart sync` delivers the rest of it" if running else "")


def run_in_words(run: Run) -> str:
    """Shortened id, name and start time of a run, for a sentence."""
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return f"{run.info.run_id[:SHORT_ID]} ({run.info.run_name}, {started:%Y-%m-%d %H:%M} UTC)"


def _search(condition: str, last: int, experiment: str | None = None, kind: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """The latest runs of one experiment, or of all, newest first."""
    return mlflow.search_runs(
        filter_string=condition,
        run_view_type=kind,
        max_results=last,
        order_by=["attributes.start_time DESC", "attributes.run_id"],
        output_format="list",
        search_all_experiments=experiment is None,
        # MLflow looks up the id of one that is named, and knows that of the one that `configure` chose
        experiment_names=[experiment] if experiment not in (None, EXPERIMENT) else None,
    )


def _pattern(text: str) -> str:
    """For LIKE, where quotes can't be escaped: each character that might mean something matches any one instead."""
    return re.sub(r"[^\w .-]", "_", text)


def _store() -> str:
    return without_password(mlflow.get_tracking_uri())
