"""Export: package the trained network as a servable model, register it, move the alias `challenger` to it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from quantart.data.licences import licences
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.models.pretrained import CONFIG
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project
from quantart.registry.card import model_card
from quantart.registry.versions import RegisteredVersion, write_registered
from quantart.reporting.run_metrics import EVALUATION, count_name, measured_in
from quantart.serving.package import log_and_register
from quantart.tracking.find import check_finished, find_run
from quantart.tracking.lineage import UPSTREAM, DataUsed, ancestry, data_of, find_sibling
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.store import configure
from quantart.vocabulary.names import VARIANTS, Domain, Variant

LINEAGE = ("git.", "dvc.", UPSTREAM, "imported.", "model.")


def run(project: Project, run_id: str | None = None) -> RegisteredVersion:
    """Register trained networks as one model and move the alias `challenger` to it.

    Without `run_id` they are the pipeline's, of both variants where both are there, and `runs/export.json` is written;
    that file is the pipeline's and stays as it is where a run was named, whose other variant is what `find_sibling`
    finds. The networks come from their MLflow runs. The named run, or that of the variant that `export` names, is the
    one that the model is logged to, and what the model does where no alpha is given. The input example is the first
    held-out photograph and painting; the model card, which is the version's description, and its tags tell what it
    stands on and what the evaluation measured.

    Raises:
        UserError: wrong parameters, a stage that has not run, no held-out picture, a run that is unknown or has no
            stage-2 network, or two networks that can't be mixed.
    """
    params = project.params().export
    project.check_writable()
    linked = [] if run_id else _pipeline_runs(project, params.variant)
    configure(project.root)
    found = _with_sibling(run_id) if run_id else [find_run(each) for each in linked]
    example = _held_out(project, "content"), _held_out(project, "style")
    runs: dict[Variant, Run] = {}
    networks: dict[Variant, Path] = {}
    with TemporaryDirectory() as folder:
        for each in found:
            check_finished(each)
            network = _download(each.info.run_id, Path(folder, each.info.run_id))
            variant = _variant(network, each.info.run_id)
            runs[variant] = each
            networks[variant] = network.rename(Path(folder, variant))  # its name in the packaged model
        default = next(iter(runs))
        registered = log_and_register(
            networks,
            variant=default,
            run_id=found[0].info.run_id,
            name=params.name,
            example=example,
            card=_card(project, params.name, runs, networks[default]),
            tags=_tags(runs) | _scores(runs[default]),
        )
    if run_id is None:
        write_registered(project, registered)
    print(f"{registered.uri} is now {registered.name}@{registered.alias}")
    return registered


def _pipeline_runs(project: Project, variant: Variant) -> list[str]:
    """The run of `variant`, then that of the other one if it was trained."""
    others = [project.link(f"stage2_{other}") for other in VARIANTS if other != variant]
    links = [project.link(f"stage2_{variant}"), *(path for path in others if path.is_file())]
    return [read_link(path).run_id for path in links]


def _with_sibling(run_id: str) -> list[Run]:
    run = find_run(run_id)
    sibling = find_sibling(run)
    return [run, sibling] if sibling else [run]


def _held_out(project: Project, domain: Domain) -> Picture:
    pictures = PackedPictures(project.prepared(domain), "test")
    if not len(pictures):
        raise UserError(f"{project.prepared(domain)}: no test picture; raise data.test_share or add pictures")
    return pictures.picture(0)


def _download(run_id: str, folder: Path) -> Path:
    folder.mkdir()
    try:
        path = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=RunLink.model, dst_path=str(folder))
    except (MlflowException, OSError) as error:
        raise UserError(f"run {run_id}: its network is gone ({error}); train it again or name another run") from error
    return Path(path)


def _variant(network: Path, run_id: str) -> Variant:
    config = json.loads((network / CONFIG).read_text(encoding="utf8"))
    if config["model"] != ExperimentStage2.__name__:
        raise UserError(f"run {run_id}: its network is an {config['model']}; only a stage-2 network can be registered")
    if config["variant"] not in VARIANTS:  # it becomes a folder's name
        raise UserError(
            f"run {run_id}: its network's variant is {config['variant']!r}; it must be discrete or continuous"
        )
    return cast(Variant, config["variant"])


def _scores(trained: Run) -> dict[str, str]:
    return {f"{EVALUATION}/{name}": f"{m.value:.6g}" for name, m in measured_in(trained.data.metrics).items()}


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


def _card(project: Project, name: str, runs: Mapping[Variant, Run], network: Path) -> str:
    """The model card; the first run is the one that the model is logged to, with its network's folder."""
    first = next(iter(runs.values()))
    pairs = first.data.metrics.get(count_name(EVALUATION))
    ancestors = [run for _, run in ancestry(runs.values())]
    config = json.loads((network / CONFIG).read_text(encoding="utf8"))
    return model_card(
        name=name,
        runs={variant: (run.info.run_name, run.info.run_id) for variant, run in runs.items()},
        resolution=config["ddconfig"]["resolution"],
        data=_licensed(project, ancestors),
        metrics=measured_in(first.data.metrics),
        pairs=None if pairs is None else int(pairs),
        lineage=_lineage(first) | {f"stands on {run.info.run_name}": run.info.run_id for run in ancestors[len(runs) :]},
    )


def _licensed(project: Project, runs: Sequence[Run]) -> dict[DataUsed, str]:
    """The data of the runs, and its licences."""
    used = data_of(runs)
    licence = {source: _licence(project.root / source) for source in {data.source for data in used}}
    return {data: licence[data.source] for data in used}


def _licence(source: Path) -> str:
    known = licences(source)
    if known is None:
        return "not known to this platform"
    return ", ".join(f"{licence} ({count})" for licence, count in known.items())
