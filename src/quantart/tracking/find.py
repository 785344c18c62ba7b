"""Runs of the store, by what a user types or a file says: an id, the beginning of one, a name, a link, a filter.

A run that began without its tracking server has a local id, which `runs/<stage>.json` and the checkpoints keep for
good. Once the run is in the store, its tag `local_id` says which one it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TypeVar

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException
from mlflow.store.entities import PagedList

from quantart.errors import UserError
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.spool import is_local_id
from quantart.tracking.store import EXPERIMENT, without_password

FINISHED = "FINISHED"
LOCAL_ID = "local_id"
SHORT_ID = 8
"""Characters of an id that are shown."""

_SHORTEST_PREFIX = 4
_ID = re.compile(rf"[0-9a-f]{{{_SHORTEST_PREFIX},32}}")
_STAGE_2 = "tags.stage = 'stage2'"
_CANDIDATES = 8
_PAGE = 200
_NEWEST_FIRST = ["attributes.start_time DESC", "attributes.run_id"]
_Item = TypeVar("_Item")


def find_run(text: str) -> Run:
    """The one run that `text` names in the configured store, in any experiment.

    Args:
        text: an id, the beginning of one (at least 4 characters), a name that no other run has, or the part of such a
            name before its `@`.

    Raises:
        UserError: there is none; there are several, which are listed; or it has not been delivered to the store yet.
    """
    text = resolve(text.strip())
    by_id = _search(f"attributes.run_id LIKE '{text}%'") if _ID.fullmatch(text) else ()
    by_name = (run for run in _search(f"attributes.run_name LIKE '{_pattern(text)}%'") if _is_named(run, text))
    found = {run.info.run_id: run for runs in (by_id, by_name) for run in islice(runs, _CANDIDATES + 1)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        shown = ", ".join(run_in_words(run) for run in islice(found.values(), _CANDIDATES))
        more = ", …" if len(found) > _CANDIDATES else ""
        raise UserError(f"run {text}: names {len(found)} runs: {shown}{more}", "give more characters of the id")
    remedy = "`dvc repro -f` makes new runs; remove .quantart/checkpoints first if training was to resume"
    if len(text) < _SHORTEST_PREFIX:
        remedy = f"give at least {_SHORTEST_PREFIX} characters of an id"
    fault = f"run {text} is not in the tracking store {_store()}: no run has this name or an id that begins so"
    raise UserError(fault, remedy)


def linked_run(path: Path) -> Run | None:
    """The run that the file `runs/<stage>.json` at `path` names; None without the file, or if the store lacks the run.

    Raises:
        UserError: the file is not a link.
        MlflowException: the store can't be asked.
    """
    if not path.is_file():
        return None
    run_id = read_link(path).run_id
    known = find_local(run_id) if is_local_id(run_id) else run_id
    run = run_if_there(known) if known else None
    return run if run and run.info.lifecycle_stage == "active" else None


def run_if_there(run_id: str) -> Run | None:
    """The run with this id of the store, or None if it was deleted for good or never was there.

    Raises:
        MlflowException: the store does not answer, or refuses access.
    """
    try:
        return MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def find_local(local_id: str) -> str | None:
    """The store's id of the run with this local id, if the run is there."""
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    condition = f"tags.{LOCAL_ID} = '{local_id}'"
    found = MlflowClient().search_runs([experiment.experiment_id], condition) if experiment else []
    return found[0].info.run_id if found else None


def resolve(run_id: str) -> str:
    """The store's id of a run; an id that is not a local one stays as it is.

    Raises:
        UserError: a local id of a run that is not in the store yet.
    """
    if not is_local_id(run_id):
        return run_id
    if found := find_local(run_id):
        return found
    raise UserError(
        f"run {run_id}: it began while the tracking server was down, and is not in the store yet",
        "run `quantart sync` where it was trained; if its .quantart/spool is gone, train it again",
    )


def select_runs(last: int | None = None, experiment: str | None = None, filter: str | None = None) -> list[Run]:
    """Finished runs, oldest first: the latest `last` of those that match `filter`.

    Args:
        last: None: all of them.
        experiment: name of an MLflow experiment; None: every experiment of the store.
        filter: in MLflow's search language; None: `tags.stage = 'stage2'`, the style transfer networks.

    Raises:
        UserError: the experiment is unknown, or MLflow does not understand the filter.
    """
    experiments = None if experiment is None else [_experiment(experiment)]
    condition = f"attributes.status = '{FINISHED}' and {_STAGE_2 if filter is None else filter}"
    try:
        return list(islice(_search(condition, experiments), last))[::-1]
    except MlflowException as error:
        if filter is None:
            raise
        raise UserError(
            f"filter {filter!r}: {_one_line(error)}", "write for example \"params.`stage2.variant` = 'discrete'\""
        ) from None


def find_model(run: Run, folder: Path) -> Path:
    """Copy the network that a run trained into `folder`, and return the model's folder there.

    Raises:
        UserError: the run has not finished, has no model, or the model's files are gone.
    """
    check_finished(run)
    name = f"run {run_in_words(run)}"
    uri = without_password(run.info.artifact_uri)
    try:
        if not MlflowClient().list_artifacts(run.info.run_id, RunLink.model):
            # a run that logged metrics while it trained has logged its model at the end
            if run.data.metrics and not MlflowClient().list_artifacts(run.info.run_id):
                raise UserError(f"{name}: its model's files are gone: {uri} is empty")
            raise UserError(f"{name}: no model at {uri}/{RunLink.model}", "name a run that trained or imported one")
        return Path(
            mlflow.artifacts.download_artifacts(
                run_id=run.info.run_id, artifact_path=RunLink.model, dst_path=str(folder)
            )
        )
    except (MlflowException, OSError) as error:
        raise UserError(f"{name}: its model's files at {uri}/{RunLink.model} are gone ({_one_line(error)})") from error


def check_finished(run: Run) -> None:
    """Raise a `UserError` that names the status if a run failed, was stopped, or is still going on."""
    if run.info.status != FINISHED:
        raise UserError(
            f"run {run_in_words(run)} is {run.info.status}, and only a training run that finished has a model",
            "if it ended, `quantart sync` delivers the rest of it" if run.info.status == "RUNNING" else "",
        )


def run_in_words(run: Run) -> str:
    """Shortened id, name and start time of a run, for a sentence."""
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return f"{run.info.run_id[:SHORT_ID]} ({run.info.run_name}, {started:%Y-%m-%d %H:%M} UTC)"


def _search(condition: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
    """Runs, newest first."""
    client = MlflowClient()
    places = experiments if experiments is not None else [each.experiment_id for each in _all_experiments()]
    return _pages(
        lambda token: client.search_runs(
            list(places), condition, max_results=_PAGE, order_by=_NEWEST_FIRST, page_token=token
        )
    )


def _all_experiments() -> Iterator[Experiment]:
    return _pages(lambda token: MlflowClient().search_experiments(page_token=token))


def _pages(page: Callable[[str | None], PagedList[_Item]]) -> Iterator[_Item]:
    """The items of all pages; `page` returns the one that begins at a token."""
    items = page(None)
    yield from items
    while items.token:
        items = page(items.token)
        yield from items


def _experiment(name: str) -> str:
    found = mlflow.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        known = ", ".join(sorted(each.name for each in _all_experiments()))
        raise UserError(f"experiment {name} is not in the tracking store {_store()}", f"choose one of: {known}")
    return str(found.experiment_id)


def _is_named(run: Run, text: str) -> bool:
    name = str(run.info.run_name)
    return text in (name, name.partition("@")[0])


def _pattern(text: str) -> str:
    """For LIKE, where quotes can't be escaped: each character that might mean something matches any one instead."""
    return re.sub(r"[^\w .-]", "_", text)


def _store() -> str:
    return without_password(mlflow.get_tracking_uri())


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
