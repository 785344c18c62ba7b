"""Runs the export: packages trained networks as one servable model and registers it as `challenger`."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow import MlflowClient
from mlflow.entities import Run

from quantart.data.licences import licences
from quantart.data.pictures import some_pictures
from quantart.graphs.network import write_graphs
from quantart.models.folder import CONFIG
from quantart.models.shipped import SHIPPED, shipped
from quantart.pipeline.code import check_ready
from quantart.pipeline.controlled import other_variant
from quantart.pipeline.trained import LICENCE, named_run, project_network, run_network
from quantart.project import Project, find_project, tracked_root
from quantart.registry.card import model_card
from quantart.registry.versions import RegisteredVersion, write_registered
from quantart.reporting.run_metrics import EVALUATION, count_name, measured_in
from quantart.serving.package import log_and_register
from quantart.tracking.lineage import UPSTREAM, ancestry, data_of
from quantart.tracking.store import configure
from quantart.vocabulary.names import DOMAINS, Variant

LINEAGE = ("git.", "dvc.", UPSTREAM, "imported.", "model.")

log = logging.getLogger(__name__)


def run(project: Project, run_id: str | None = None) -> RegisteredVersion:
    """Register trained networks as one model and move the alias `challenger` to it.

    Without `run_id` they are those in `models/`, of both variants if both are trained, and `runs/export.json` is
    written. With it they are that run's network and, if there is one, the `other_variant`. The first run,
    which is the named one or that of the variant that `export` names, is the one that the model is logged to; its
    variant is what the model does by default. The input example is the first held-out photograph and painting. The
    model card, which is the version's description, and the version's tags tell what it stands on and what the
    evaluation measured.
    """
    params = project.params().export
    check_ready(project, "export")
    configure(project.root)
    runs: dict[Variant, Run] = {}
    networks: dict[Variant, Path] = {}
    with TemporaryDirectory() as folder, ExitStack() as stack:
        if run_id:
            named = stack.enter_context(run_network(named_run(project.root, run_id)))
            other = stack.enter_context(other_variant(named))
            chosen = [named, other] if other else [named]
        else:
            others = [variant for variant in project.trained_variants if variant != params.variant]
            chosen = [project_network(project, f"stage2_{variant}") for variant in (params.variant, *others)]
        photograph, painting = (some_pictures(project.prepared(domain), "test").picture(0) for domain in DOMAINS)
        for trained in chosen:
            variant = trained.load_stage_2("a registered model").variant
            runs[variant] = trained.run
            networks[variant] = Path(shutil.copytree(trained.folder, Path(folder, variant)))  # its name in the package
        default = next(iter(runs))
        measured = measured_in(runs[default].data.metrics)
        if not measured:
            log.warning(
                "%s has not been evaluated: run `quantart evaluate` first to register its metrics", chosen[0].name
            )
        registered = log_and_register(
            networks,
            variant=default,
            run_id=runs[default].info.run_id,
            name=params.name,
            example=(photograph, painting),
            card=_card(project, params.name, runs, networks[default]),
            tags=_tags(runs) | {f"{EVALUATION}/{name}": f"{m.value:.6g}" for name, m in measured.items()},
        )
    if run_id is None:
        write_registered(project, registered)
    MlflowClient().set_registered_model_alias(registered.name, registered.alias, registered.version)  # last
    log.info("%s is now %s@%s", registered.uri, registered.name, registered.alias)
    return registered


def write_onnx(project: Project | None, run_id: str | None, out: Path) -> None:
    """Write a network as ONNX graphs to the new folder `out`: a run's, or the one that the project exports.

    `quantart/open` needs no project. See `write_graphs` on the errors.
    """
    with ExitStack() as stack:
        if run_id == SHIPPED:
            folder = shipped("stage2_discrete")
        elif run_id:
            configure(root := tracked_root(project))
            folder = stack.enter_context(run_network(named_run(root, run_id))).folder
        else:
            project = project or find_project()
            folder = project.stage2_model(project.params().export.variant)
        write_graphs(folder, out)
    log.info("%s: four graphs with their weights", out)


def _tags(runs: Mapping[Variant, Run]) -> dict[str, str]:
    """Which runs the networks come from and what these stand on; the first is the one that the model is logged to."""
    variant, *others = runs
    tags = {"variant": variant, **{f"run.{each}": run.info.run_id for each, run in runs.items()}}
    tags |= _lineage(runs[variant])
    return tags | {f"{other}.{key}": value for other in others for key, value in _lineage(runs[other]).items()}


def _lineage(trained: Run) -> dict[str, str]:
    return {key: value for key, value in trained.data.tags.items() if key.startswith(LINEAGE)}


def _card(project: Project, name: str, runs: Mapping[Variant, Run], network: Path) -> str:
    """The model card; the first run is the one that the model is logged to, with its network's folder."""
    first = next(iter(runs.values()))
    pairs = first.data.metrics.get(count_name(EVALUATION))
    ancestors = [run for _, run in ancestry(runs.values())]
    used = data_of(ancestors)
    known = {source: licences(project.root / source) or {} for source in {data.source for data in used}}
    stated = {key: value for run in ancestors for key, value in run.data.tags.items() if key.startswith(LICENCE)}
    licence = {source: ", ".join(f"{name} ({n})" for name, n in counts.items()) for source, counts in known.items()}
    config = json.loads((network / CONFIG).read_text(encoding="utf8"))
    return model_card(
        name=name,
        runs={variant: (run.info.run_name, run.info.run_id) for variant, run in runs.items()},
        resolution=config["ddconfig"]["resolution"],
        data={
            data: stated.get(f"{LICENCE}{data.digest}") or licence[data.source] or "not known to this platform"
            for data in used
        },
        metrics=measured_in(first.data.metrics),
        pairs=None if pairs is None else int(pairs),
        lineage=_lineage(first) | {f"stands on {run.info.run_name}": run.info.run_id for run in ancestors[len(runs) :]},
    )
