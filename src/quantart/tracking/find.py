"""Runs by what a user types: an id, the beginning of one, a name, the last few, a filter."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.tracking.links import RunLink
from quantart.tracking.local import resolve
from quantart.tracking.store import without_password

FINISHED = "FINISHED"
SHORT_ID = 8
"""Characters of an id that are shown."""

_SHORTEST_PREFIX = 4
_ID = re.compile(rf"[0-9a-f]{{{_SHORTEST_PREFIX},32}}")
_STAGE_2 = "tags.stage = 'stage2'"
_CANDIDATES = 8
_PAGE = 200
_NEWEST_FIRST = ["attributes.start_time DESC", "attributes.run_id"]


def find_run(text: str) -> Run:
    """The one run of the configured store, whatever its experiment, that `text` names.

    Args:
        text: an id, the beginning of one (at least 4 characters), a name that no other run has, or the part of such a
            name before its `@`.

    Raises:
        UserError: there is none, or there are several: the message names them; or it is not delivered to the store yet.
    """
    text = resolve(text.strip())
    by_id = _search(f"attributes.run_id LIKE '{text}%'") if _ID.fullmatch(text) else ()
    by_name = (run for run in _search(f"attributes.run_name LIKE '{_pattern(text)}%'") if _is_named(run, text))
    found = {run.info.run_id: run for runs in (by_id, by_name) for run in islice(runs, _CANDIDATES + 1)}
    if len(found) == 1:
        return next(iter(found.values()))
    if found:
        shown = ", ".join(describe(run) for run in islice(found.values(), _CANDIDATES))
        more = ", …" if len(found) > _CANDIDATES else ""
        raise UserError(f"run {text}: names {len(found)} runs: {shown}{more}; give more characters of the id")
    short = f"; an id's beginning needs at least {_SHORTEST_PREFIX} characters" if len(text) < _SHORTEST_PREFIX else ""
    raise UserError(
        f"run {text} is not in the tracking store {_store()}: no id begins so, and no run has this name{short}"
    )


def select_runs(last: int | None = None, experiment: str | None = None, filter: str | None = None) -> list[Run]:
    """Finished runs, the oldest first: the latest `last` of those that `filter` lets through.

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
            f"filter {filter!r}: {_one_line(error)}; right would be e.g. \"params.`stage2.variant` = 'discrete'\""
        ) from None


def find_model(run: Run, folder: Path) -> Path:
    """Copy the network that a run trained into `folder`, and return the model's folder there.

    Raises:
        UserError: the run has not finished, has no model, or the model's files are gone.
    """
    check_finished(run)
    name = f"run {describe(run)}"
    uri = without_password(run.info.artifact_uri)
    try:
        files = MlflowClient().list_artifacts(run.info.run_id, RunLink.model)
        if not files:
            raise UserError(_no_model(run, name, uri))
        path = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path=RunLink.model, dst_path=str(folder)
        )
    except (MlflowException, OSError) as error:
        raise UserError(f"{name}: its model's files at {uri}/{RunLink.model} are gone ({_one_line(error)})") from error
    return Path(path)


def check_finished(run: Run) -> None:
    """Stop where a run failed, was stopped or is still going on.

    Raises:
        UserError: naming its status.
    """
    if run.info.status != FINISHED:
        left = "; if it ended, `quantart sync` delivers the rest of it" if run.info.status == "RUNNING" else ""
        raise UserError(
            f"run {describe(run)} is {run.info.status}; only a training run that finished has a model{left}"
        )


def describe(run: Run) -> str:
    """Id (shortened), name and time of start, for a sentence."""
    started = datetime.fromtimestamp(run.info.start_time / 1000, UTC)
    return f"{run.info.run_id[:SHORT_ID]} ({run.info.run_name}, {started:%Y-%m-%d %H:%M} UTC)"


def _no_model(run: Run, name: str, uri: str) -> str:
    # what training logs while it goes on shows that the model, logged at its end, has been there
    if run.data.metrics and not MlflowClient().list_artifacts(run.info.run_id):
        return f"{name}: its model's files are gone: nothing is left at {uri}"
    return f"{name}: has no model at {uri}/{RunLink.model}; name a run that trained or imported one"


def _search(condition: str, experiments: Sequence[str] | None = None) -> Iterator[Run]:
    """Runs, the newest first, page by page."""
    client = MlflowClient()
    places = list(experiments) if experiments is not None else _all_experiments(client)
    token: str | None = ""
    while token is not None:
        page = client.search_runs(
            places, condition, max_results=_PAGE, order_by=_NEWEST_FIRST, page_token=token or None
        )
        yield from page
        token = page.token or None


def _all_experiments(client: MlflowClient) -> list[str]:
    found: list[str] = []
    token: str | None = ""
    while token is not None:
        page = client.search_experiments(page_token=token or None)
        found += [experiment.experiment_id for experiment in page]
        token = page.token or None
    return found


def _experiment(name: str) -> str:
    found = mlflow.get_experiment_by_name(name)
    if found is None or found.lifecycle_stage != "active":
        client = MlflowClient()
        known = ", ".join(sorted(client.get_experiment(each).name for each in _all_experiments(client)))
        raise UserError(f"experiment {name}: not in the tracking store {_store()}; there are: {known}")
    return found.experiment_id


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
