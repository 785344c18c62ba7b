"""Export: package the trained network as a servable model, register it, move the alias `challenger` to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.images import Picture
from quantart.models.fidelity import ALPHA_OF
from quantart.params import VARIANTS, Domain, Variant
from quantart.project import Project
from quantart.serving.package import log_and_register
from quantart.serving.registered import RegisteredModel, write_registered
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.runs import open_run

LINEAGE = ("git.", "dvc.", "upstream.")


def run(project: Project) -> RegisteredModel:
    """Register the trained networks, one model with both variants where both are there; write `runs/export.json`.

    The networks come from their MLflow runs. The variant that `export` names is the run that the model is logged to,
    and what the model does where no alpha is given. Its input example is the first held-out photograph and painting;
    description and tags of the version tell what it stands on and what the evaluation measured.

    Raises:
        UserError: wrong parameters, a stage that has not run, no held-out picture, a run without its network, or two
            networks that can't be mixed.
    """
    params = project.params().export
    link = read_link(project.link(f"stage2_{params.variant}"))
    others = {v: project.link(f"stage2_{v}") for v in VARIANTS if v != params.variant}
    links = {params.variant: link} | {v: read_link(path) for v, path in others.items() if path.is_file()}
    example = _held_out(project, "content"), _held_out(project, "style")
    runs = {variant: _find(project, each) for variant, each in links.items()}
    metrics = _evaluation(runs[params.variant])
    with TemporaryDirectory() as folder:
        registered = log_and_register(
            {variant: _download(each, Path(folder, variant)) for variant, each in links.items()},
            variant=params.variant,
            run_id=link.run_id,
            name=params.name,
            example=example,
            description=_description(runs, metrics),
            tags=_tags(runs) | {name: f"{value:.6g}" for name, value in metrics.items()},
        )
    write_registered(project, registered)
    print(f"{registered.uri} is now {registered.name}@{registered.alias}")
    return registered


def _held_out(project: Project, domain: Domain) -> Picture:
    pictures = PackedPictures(project.prepared(domain), "test")
    if not len(pictures):
        raise UserError(f"{project.prepared(domain)}: no test picture; raise data.test_share or add pictures")
    return pictures.picture(0)


def _find(project: Project, link: RunLink) -> Run:
    open_run(project.root, link.run_id)
    return MlflowClient().get_run(link.run_id)


def _download(link: RunLink, folder: Path) -> Path:
    """The run's network, as `folder`, in a folder that is there."""
    place = folder.with_suffix(".run")
    place.mkdir()
    try:
        path = mlflow.artifacts.download_artifacts(run_id=link.run_id, artifact_path=link.model, dst_path=str(place))
    except (MlflowException, OSError) as error:
        raise UserError(f"run {link.run_id}: its network is gone ({error}); train {link.stage} again") from error
    return Path(path).rename(folder)


def _evaluation(trained: Run) -> dict[str, float]:
    """What the evaluation logged of the network itself; baselines and ends of intervals are left out."""
    return {
        name: value
        for name, value in sorted(trained.data.metrics.items())
        if name.startswith("eval/") and name.count("/") == 1 and not name.endswith(("_low", "_high"))
    }


def _tags(runs: Mapping[Variant, Run]) -> dict[str, str]:
    """Which runs the networks come from and what these stand on; the first is the one that the model is logged to."""
    variant, *others = runs
    tags = {
        "variant": variant,
        **{f"run.{each}": run.info.run_id for each, run in runs.items()},
        **_lineage(runs[variant]),
    }
    return tags | {f"{other}.{key}": value for other in others for key, value in _lineage(runs[other]).items()}


def _lineage(trained: Run) -> dict[str, str]:
    return {key: value for key, value in trained.data.tags.items() if key.startswith(LINEAGE)}


def _description(runs: Mapping[Variant, Run], metrics: Mapping[str, float]) -> str:
    """Markdown for the version's page in the registry."""
    lines = [
        f"Style transfer network, {variant}, of the run `{run.info.run_name}` ({run.info.run_id})."
        for variant, run in runs.items()
    ]
    variant = next(iter(runs))
    alpha = f"alpha (visual fidelity) is {ALPHA_OF[variant]:g}"
    lines.append(f"By default {alpha}: {variant}." if len(runs) > 1 else f"It is alone: {alpha}, always.")
    if metrics:
        lines += ["", f"| {variant}, measured on held-out pictures | |", "|---|---|"]
        lines += [f"| {name.removeprefix('eval/')} | {value:.4g} |" for name, value in metrics.items()]
    else:
        lines.append("It has not been evaluated.")
    return "\n".join(lines)
