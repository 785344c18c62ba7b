"""By what a run is told from others in MLflow: its name, its tags, its description."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow

from quantart.tracking.store import EXPERIMENT

if TYPE_CHECKING:
    from quantart.tracking.runs import DataUsed

SHORT_ID = 8
UPSTREAM = "upstream."
"""Begins the names of the tags with the ids of the runs that a run stands on; `upstream_of` reads them."""

_DVC = {"dvc.stage": "DVC_STAGE", "dvc.experiment": "DVC_EXP_NAME"}


def run_name(name: str, tags: Mapping[str, str], run_id: str) -> str:
    """`name@experiment` under `dvc exp run`, else `name@` and the beginning of the id.

    Charts and legends show nothing of a run but its name.
    """
    return f"{name}@{tags.get('dvc.experiment') or run_id[:SHORT_ID]}"


def tags_of(project: Path, stage: str, upstream: Mapping[str, str], datasets: Sequence[DataUsed]) -> dict[str, str]:
    """Where a run comes from.

    Returns:
        `stage`; `git.commit` and `git.dirty`; `dvc.stage` and `dvc.experiment` under DVC; `data.<name>`, the sha256 of
        each data set; `upstream.<stage>`, the id of each run that this one stands on.
    """
    tags = {"stage": stage, **_git(project)}
    tags |= {tag: value for tag, variable in _DVC.items() if (value := os.environ.get(variable))}
    tags |= {f"data.{data.name}": data.digest for data in datasets}
    return tags | {f"{UPSTREAM}{name}": run_id for name, run_id in upstream.items()}


def upstream_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Ids of the runs that a run (or a registered version with its tags) stands on, by stage."""
    return {key.removeprefix(UPSTREAM): run_id for key, run_id in tags.items() if key.startswith(UPSTREAM)}


def describe(name: str, tags: Mapping[str, str], datasets: Sequence[DataUsed]) -> str:
    """Markdown for the run's page: what it is, what it read, and links to the runs that it stands on.

    MLflow shows the first lines only until one asks for more.
    """
    first = f"`{name}`"
    if experiment := tags.get("dvc.experiment"):
        first += f" of the experiment `{experiment}`"
    if commit := tags.get("git.commit"):
        first += f", at commit {commit[:10]}" + (" with uncommitted changes" if tags["git.dirty"] == "true" else "")
    lines = [first, *(_data_line(data) for data in datasets)]
    if upstream := upstream_of(tags):
        lines.append(f"Stands on {', '.join(_link(stage, run_id) for stage, run_id in upstream.items())}")
    return "\n\n".join(lines)


def _data_line(data: DataUsed) -> str:
    return (
        f"{data.context.capitalize()} data: {data.count} pictures of {data.name}, `{data.source}`, {data.digest[:12]}"
    )


def _link(stage: str, run_id: str) -> str:
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    text = f"{stage} {run_id[:SHORT_ID]}"
    return f"[{text}](#/experiments/{experiment.experiment_id}/runs/{run_id})" if experiment else text


def _git(project: Path) -> dict[str, str]:
    """Commit and dirtiness of the working copy; nothing outside a git repository or before its first commit."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"git.commit": git("rev-parse", "HEAD"), "git.dirty": str(bool(git("status", "--porcelain"))).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}
