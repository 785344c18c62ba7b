"""Export: package the trained network as a servable model, register it, move the alias `challenger` to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.images import Picture
from quantart.params import Domain
from quantart.project import Project
from quantart.serving.package import RegisteredModel, log_and_register
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.runs import open_run

LINEAGE = ("git.", "dvc.", "upstream.")


def run(project: Project) -> RegisteredModel:
    """Register the network of the variant that `export` names, from its MLflow run, and write `runs/export.json`.

    Its input example is the first held-out photograph and painting; description and tags of the version tell what it
    stands on and what the evaluation measured.

    Raises:
        UserError: wrong parameters, a stage that has not run, no held-out picture, or a run without its network.
    """
    params = project.params().export
    link = read_link(project.link(f"stage2_{params.variant}"))
    example = _held_out(project, "content"), _held_out(project, "style")
    open_run(project.root, link.run_id)
    trained = MlflowClient().get_run(link.run_id)
    metrics = _evaluation(trained)
    with TemporaryDirectory() as folder:
        registered = log_and_register(
            _download(link, folder),
            run_id=link.run_id,
            name=params.name,
            example=example,
            description=_description(trained, params.variant, metrics),
            tags={"variant": params.variant, **_lineage(trained), **{k: f"{v:.6g}" for k, v in metrics.items()}},
        )
    project.link("export").write_text(json.dumps(asdict(registered), indent=2) + "\n", encoding="utf8")
    print(f"{registered.name} version {registered.version} is now {registered.uri}")
    return registered


def _held_out(project: Project, domain: Domain) -> Picture:
    pictures = PackedPictures(project.prepared(domain), "test")
    if not len(pictures):
        raise UserError(f"{project.prepared(domain)}: no test picture; raise data.test_share or add pictures")
    return pictures.picture(0)


def _download(link: RunLink, folder: str) -> Path:
    try:
        path = mlflow.artifacts.download_artifacts(run_id=link.run_id, artifact_path=link.model, dst_path=folder)
    except (MlflowException, OSError) as error:
        raise UserError(f"run {link.run_id}: its network is gone ({error}); train {link.stage} again") from error
    return Path(path)


def _evaluation(trained: Run) -> dict[str, float]:
    """What the evaluation logged of the network itself; baselines and ends of intervals are left out."""
    return {
        name: value
        for name, value in sorted(trained.data.metrics.items())
        if name.startswith("eval/") and name.count("/") == 1 and not name.endswith(("_low", "_high"))
    }


def _lineage(trained: Run) -> dict[str, str]:
    return {key: value for key, value in trained.data.tags.items() if key.startswith(LINEAGE)}


def _description(trained: Run, variant: str, metrics: Mapping[str, float]) -> str:
    """Markdown for the version's page in the registry."""
    lines = [f"Style transfer network, {variant}, of the run `{trained.info.run_name}` ({trained.info.run_id})."]
    if metrics:
        lines += ["", "| measured on held-out pictures | |", "|---|---|"]
        lines += [f"| {name.removeprefix('eval/')} | {value:.4g} |" for name, value in metrics.items()]
    else:
        lines.append("It has not been evaluated.")
    return "\n".join(lines)
