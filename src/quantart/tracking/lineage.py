"""Where a run comes from: its code, the data that it read, the runs whose networks it stands on."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Run
from mlflow.environment_variables import MLFLOW_EXPERIMENT_ID

from quantart.tracking.find import SHORT_ID, run_if_there

UPSTREAM = "upstream."  # prefix of the tags that hold the ids of the runs that a run stands on
VARIANT = "stage2.variant"

_DVC = {"dvc.stage": "DVC_STAGE", "dvc.experiment": "DVC_EXP_NAME"}
_CONTEXT = "mlflow.data.context"
_LATEST = "latest."
_SHOWN_TAGS = ("git.commit", "dvc.experiment")
_TAG_SHOWN = 12


@dataclass(frozen=True)
class DataUsed:
    """A set of pictures or codes that a run reads."""

    name: str  # e.g. `content`
    digest: str  # sha256 of the data, in hex
    source: str  # folder, relative to the project if it lies inside
    context: str  # what the run does with it: `training`, `validation` or `test`
    count: int  # of pictures

    def as_input(self) -> DatasetInput:
        """As MLflow keeps it with a run; `data_of` reads it."""
        dataset = Dataset(
            name=self.name,
            digest=self.digest[:32],  # MLflow's column holds 36 characters; the profile has the whole digest
            source_type="local",
            source=json.dumps({"uri": self.source}),
            profile=json.dumps({"pictures": self.count, "sha256": self.digest}),
        )
        return DatasetInput(dataset, [InputTag(_CONTEXT, self.context)])


def tags_of(project: Path, family: str, upstream: Mapping[str, str], datasets: Sequence[DataUsed]) -> dict[str, str]:
    """The tags that tell where a run comes from, as docs/tracking.md lists them."""
    tags = {"stage": family, **_git(project)}
    tags |= {tag: value for tag, variable in _DVC.items() if (value := os.environ.get(variable))}
    tags |= {f"data.{data.name}": data.digest for data in datasets}
    return tags | {f"{UPSTREAM}{name}": run_id for name, run_id in upstream.items()}


def run_name(name: str, tags: Mapping[str, str], run_id: str) -> str:
    """`name@experiment` under `dvc exp run`, otherwise `name@` and the beginning of the id: all that charts show."""
    return f"{name}@{tags.get('dvc.experiment') or run_id[:SHORT_ID]}"


def description(name: str, tags: Mapping[str, str], datasets: Sequence[DataUsed]) -> str:
    """Markdown for the run's page: what it is, what it read, and links to the runs that it stands on."""
    first = f"`{name}`"
    if experiment := tags.get("dvc.experiment"):
        first += f" of the experiment `{experiment}`"
    if commit := tags.get("git.commit"):
        first += f", at commit {commit[:10]}" + (" with uncommitted changes" if tags["git.dirty"] == "true" else "")
    lines = [first]
    for d in datasets:
        lines.append(f"{d.context.capitalize()} data: {d.count} pictures of {d.name}, `{d.source}`, {d.digest[:12]}")
    if upstream := upstream_of(tags):
        pages = f"#/experiments/{MLFLOW_EXPERIMENT_ID.get()}/runs"  # of the one that `configure` chose
        links = [f"[{stage} {run_id[:SHORT_ID]}]({pages}/{run_id})" for stage, run_id in upstream.items()]
        lines.append(f"Stands on {', '.join(links)}")
    return "\n\n".join(lines)


def upstream_of(tags: Mapping[str, str]) -> dict[str, str]:
    """Ids of the runs that a run (or a registered version, by its tags) stands on, by stage."""
    return {key.removeprefix(UPSTREAM): run_id for key, run_id in tags.items() if key.startswith(UPSTREAM)}


def ancestry(runs: Iterable[Run]) -> list[tuple[str, Run]]:
    """The runs and those that they stand on, as far as they are there, nearest first.

    Each with its stage, as the run that stands on it names it; "" for `runs` themselves.
    """
    found = {run.info.run_id: ("", run) for run in runs}
    waiting = [run for _, run in found.values()]
    while waiting:
        for stage, run_id in upstream_of(waiting.pop(0).data.tags).items():
            if run_id not in found and (run := run_if_there(run_id)):
                found[run_id] = (stage, run)
                waiting.append(run)
    return list(found.values())


def parameters_of(run: Run) -> dict[str, str]:
    """What the run was told, and what the runs were told that it stands on; then the commit.

    Of a run that was resumed with other parameters the latest count: MLflow keeps the first, `stage_run` tags
    the others.
    """
    told: dict[str, str] = {}
    for stage, each in ancestry([run]):
        latest = {k.removeprefix(_LATEST): v for k, v in each.data.tags.items() if k.startswith(_LATEST)}
        for name, value in (each.data.params | latest).items():
            if "." in name:  # it begins with a stage; the limits of an exported model's server are parameters too
                told.setdefault(f"{stage}: {name}" if stage else name, value)  # of two of a stage the nearer one
    tags = run.data.tags
    return told | {tag: tags[tag][:_TAG_SHOWN] for tag in _SHOWN_TAGS if tag in tags}


def data_of(runs: Iterable[Run]) -> list[DataUsed]:
    """The data that the runs logged as their inputs, each set once per context."""
    found = {_data_used(each) for run in runs for each in run.inputs.dataset_inputs}
    return sorted(found, key=lambda used: (used.context, used.name, used.source, used.digest))


def find_sibling(run: Run) -> Run | None:
    """The latest finished run that differs from this stage-2 run in its variant alone, if there is one.

    It stands on the same stage-1 runs and has the same parameters, so that both networks can be mixed.
    """
    upstream = upstream_of(run.data.tags)
    if not upstream:
        return None
    wanted = " and ".join(f"tags.`{UPSTREAM}{stage}` = '{run_id}'" for stage, run_id in upstream.items())
    condition, latest = f"attributes.status = 'FINISHED' and {wanted}", ["attributes.start_time DESC"]
    found = MlflowClient().search_runs([run.info.experiment_id], condition, order_by=latest)
    return next((other for other in found if _differ_in_variant_alone(run, other)), None)


def _differ_in_variant_alone(run: Run, other: Run) -> bool:
    # a run that was exported has the served model's limits among its parameters too
    one, two = (
        {key: value for key, value in each.data.params.items() if key.startswith("stage2.")} for each in (run, other)
    )
    variants = {one.pop(VARIANT, None), two.pop(VARIANT, None)}
    same_upstream = upstream_of(run.data.tags) == upstream_of(other.data.tags)
    return variants == {"discrete", "continuous"} and one == two and same_upstream


def _data_used(used: DatasetInput) -> DataUsed:
    profile = json.loads(used.dataset.profile)
    context = next((tag.value for tag in used.tags if tag.key == _CONTEXT), "")
    source = json.loads(used.dataset.source)["uri"]
    return DataUsed(used.dataset.name, profile["sha256"], source, context, profile["pictures"])


def _git(project: Path) -> dict[str, str]:
    """Commit and state of the working copy; nothing outside a git repository or before its first commit."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(project), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return {"git.commit": git("rev-parse", "HEAD"), "git.dirty": str(bool(git("status", "--porcelain"))).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {}
