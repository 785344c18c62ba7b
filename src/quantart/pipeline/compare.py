"""Compare: fetch the evaluations of runs from the tracking store, and set them side by side."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from quantart.errors import UserError, one_line
from quantart.machine.whole import write_whole
from quantart.pipeline.trained import named_run
from quantart.project import Project, tracked_root
from quantart.registry.votes import votes_of
from quantart.reporting.comparison.compare import Comparison, EvaluatedRun, compare
from quantart.reporting.comparison.page import page
from quantart.reporting.comparison.tables import csv_text
from quantart.reporting.record import ABOUT, NEEDED, PICTURES, Record, read_record
from quantart.reporting.run_metrics import DIGEST, EVALUATION, digest_name
from quantart.tracking.find import check_finished, logged_files, run_in_words, select_runs
from quantart.tracking.lineage import parameters_of, upstream_of
from quantart.tracking.store import configure, without_password
from quantart.vocabulary.names import DOMAINS

EVALUATIONS = (EVALUATION, *(f"{EVALUATION}/{domain}" for domain in DOMAINS))
"""Folders of a run's artifacts with an evaluation under the model's own settings: of stage 2, of stage 1 by domain."""


def run(
    project: Project | None,
    runs: Sequence[str] = (),
    *,
    last: int | None = None,
    experiment: str | None = None,
    filter: str | None = None,
    html: Path | None = None,
    csv: Path | None = None,
) -> Comparison:
    """Compare the evaluations of at least two runs: of `runs`, see `named_run`, then of those that `select_runs` finds.

    Without a project, the tracking store is what MLFLOW_TRACKING_URI says.
    """
    for file in [path for path in (html, csv) if path is not None]:
        if not file.parent.is_dir():
            raise UserError(f"{file}: the folder {file.parent} does not exist")
        if file.is_dir():
            raise UserError(f"{file}: is a folder", "name a file")
    root = tracked_root(project)
    configure(root)
    chosen = [named_run(root, text) for text in runs]
    if last is not None or experiment is not None or filter is not None:
        chosen += select_runs(last, experiment, filter)
    chosen = list({each.info.run_id: each for each in chosen}.values())
    if len(chosen) < 2:
        named = f"only {run_in_words(chosen[0])}" if chosen else "none"
        raise UserError(f"compare: needs at least two different runs, and found {named}")
    with TemporaryDirectory() as folder:
        places = _shared_place([_places(each) for each in chosen])
        runs_at = zip(chosen, places, strict=True)
        found = compare([_evaluated(each, place, Path(folder, each.info.run_id)) for each, place in runs_at])
    if html is not None:
        write_whole(html, page(found).encode())
    if csv is not None:
        write_whole(csv, csv_text(found).encode())
    return found


def _evaluated(run: Run, place: str, folder: Path) -> EvaluatedRun:
    return EvaluatedRun(
        run_id=run.info.run_id,
        name=run.info.run_name,
        started=datetime.fromtimestamp(run.info.start_time / 1000, UTC),
        parameters=parameters_of(run),
        upstream=upstream_of(run.data.tags),
        record=_fetch_record(run, place, folder),
        votes=votes_of(run.info.run_id, f"run {run_in_words(run)}"),
    )


def _places(run: Run) -> list[str]:
    """Where the run has evaluations: those of `EVALUATIONS` first, then those on other pictures or settings."""
    run_id = run.info.run_id
    others = [
        tag.removesuffix(DIGEST) for tag in sorted(run.data.tags) if tag.startswith(EVALUATION) and tag.endswith(DIGEST)
    ]
    try:
        found = [place for place in dict.fromkeys([*EVALUATIONS, *others]) if ABOUT in logged_files(run_id, place)]
    except (MlflowException, OSError) as error:
        raise _unreadable(run, error) from error
    if not found:
        check_finished(run)
        if others:
            raise _gone(run, others[0], NEEDED)
        raise UserError(
            f"run {run_in_words(run)}: has no evaluation to compare", f"`quantart evaluate --run-id {run_id}` makes one"
        )
    return found


def _shared_place(places: Sequence[list[str]]) -> list[str]:
    """One for each run: the first that all have (a base is evaluated on both domains), or each one's own first."""
    shared = [place for place in places[0] if all(place in each for each in places)]
    return [shared[0] if shared else each[0] for each in places]


def _fetch_record(run: Run, place: str, folder: Path) -> Record:
    """Download what `evaluate` left; evaluations under other settings, in folders below, stay where they are."""
    folder.mkdir()
    run_id = run.info.run_id
    try:
        there = logged_files(run_id, place)
        if missing := [name for name in NEEDED if name not in there]:
            raise _gone(run, place, missing)
        for name in there & {*NEEDED, PICTURES}:
            mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=f"{place}/{name}", dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise _unreadable(run, error) from error
    try:
        record = read_record(folder)
    except UserError as error:
        raise UserError(f"run {run_in_words(run)}: {error}") from None
    if run.data.tags.get(digest_name(place)) != record.about.digest:
        raise UserError(
            f"run {run_in_words(run)}: its evaluation {place}/ was not logged to the end",
            f"`quantart evaluate --run-id {run_id}` logs it again",
        )
    return record


def _gone(run: Run, place: str, files: Sequence[str]) -> UserError:
    return UserError(
        f"run {run_in_words(run)}: was evaluated, but {', '.join(files)} of {place}/ are gone from its artifacts at "
        f"{without_password(run.info.artifact_uri)}",
        f"`quantart evaluate --run-id {run.info.run_id}` makes them anew",
    )


def _unreadable(run: Run, error: Exception) -> UserError:
    return UserError(f"run {run_in_words(run)}: its evaluation can't be downloaded ({one_line(error)})")
