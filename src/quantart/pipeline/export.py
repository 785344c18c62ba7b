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
from quantart.models.pretrained import CONFIG
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import Domain
from quantart.project import Project
from quantart.serving.package import RegisteredModel, log_and_register
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.runs import open_run

LINEAGE = ("git.", "dvc.", "upstream.")


def run(project: Project, run_id: str | None = None) -> RegisteredModel:
    """Register the network of a stage-2 run and move the alias.

    Without `run_id` it is the pipeline's run of the variant that `export` names, and `runs/export.json` is written;
    that file is the pipeline's and stays as it is where a run was named. The input example is the first held-out
    photograph and painting; description and tags of the version tell what it stands on and what the evaluation
    measured.

    Raises:
        UserError: wrong parameters, a stage that has not run, no held-out picture, or a run that is unknown or has no
            stage-2 network.
    """
    params = project.params().export
    source = run_id or read_link(project.link(f"stage2_{params.variant}")).run_id
    example = _held_out(project, "content"), _held_out(project, "style")
    open_run(project.root, source)
    trained = MlflowClient().get_run(source)
    metrics = _evaluation(trained)
    with TemporaryDirectory() as folder:
        network = _download(source, folder)
        variant = _variant(network, source)
        registered = log_and_register(
            network,
            run_id=source,
            name=params.name,
            example=example,
            description=_description(trained, variant, metrics),
            tags={"variant": variant, **_lineage(trained), **{k: f"{v:.6g}" for k, v in metrics.items()}},
        )
    if run_id is None:
        project.link("export").write_text(json.dumps(asdict(registered), indent=2) + "\n", encoding="utf8")
    print(f"{registered.name} version {registered.version} is now {registered.uri}")
    return registered


def _held_out(project: Project, domain: Domain) -> Picture:
    pictures = PackedPictures(project.prepared(domain), "test")
    if not len(pictures):
        raise UserError(f"{project.prepared(domain)}: no test picture; raise data.test_share or add pictures")
    return pictures.picture(0)


def _download(run_id: str, folder: str) -> Path:
    try:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=RunLink.model, dst_path=folder)
    except (MlflowException, OSError) as error:
        raise UserError(f"run {run_id}: its network is gone ({error}); train it again or name another run") from error
    return Path(path)


def _variant(network: Path, run_id: str) -> str:
    config = json.loads((network / CONFIG).read_text(encoding="utf8"))
    if config["model"] != ExperimentStage2.__name__:
        raise UserError(f"run {run_id}: its network is an {config['model']}; only a stage-2 network can be registered")
    return str(config["variant"])


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
