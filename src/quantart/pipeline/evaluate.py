"""Evaluate: measure trained models on the held-out test pictures; write reports, log to the models' own runs."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import mlflow
import pandas as pd
import torch
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.data.pairs import read_pairs
from quantart.data.pictures import PackedPictures
from quantart.device import default_device
from quantart.errors import UserError
from quantart.evaluation import baselines
from quantart.evaluation.evaluate import Evaluation, evaluate_reconstruction, evaluate_transfer
from quantart.evaluation.figures import GRID_PAIRS, transfer_grid
from quantart.evaluation.rendering import MODEL, Painter
from quantart.evaluation.reports import write_reports
from quantart.losses.lpips import LPIPS
from quantart.models.fidelity import ALPHA_OF, Fidelity, FidelityControl, settle
from quantart.models.pretrained import CONFIG
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import DOMAINS, VARIANTS, Domain, Params, Variant
from quantart.pipeline.pair import log_pairs
from quantart.project import Project
from quantart.tracking.links import read_link
from quantart.tracking.runs import DataUsed, StageRun, open_run
from quantart.tracking.siblings import find_sibling
from quantart.tracking.store import configure

Model = ExperimentStage1 | ExperimentStage2
Network = TypeVar("Network", bound=torch.nn.Module)


def run(
    project: Project, run_id: str | None = None, *, alpha: float | None = None, beta: float = 1.0
) -> dict[str, Any]:
    """Evaluate the pipeline's runs, or one run: style transfer of stage 2, reconstruction of stage 1.

    The reports (see `write_reports`) go to `reports/`, or to `reports/runs/<run_id>/` where a run was named. With
    another visual fidelity `alpha` or style fidelity `beta` than the model's own (see `FidelityControl`) it is one
    run, by default the one that the project exports; metrics and reports are then kept apart under the setting's
    name, e.g. `eval/a0.50_b1.00/…` and `reports/fidelity/a0.50_b1.00/`.

    Returns:
        Every value, see `write_reports`.

    Raises:
        UserError: wrong parameters, no trained model, no test picture or pair, a run that is unknown or has no model,
            or an alpha or beta that it can't do.
    """
    params = project.params()
    configure(project.root)
    evaluator = _Evaluator(project, params)
    if alpha is not None or beta != 1.0:
        controlled = _run_controlled(project, run_id, alpha, beta, evaluator)
        if controlled is not None:
            return controlled
    transfers: dict[str, Evaluation] = {}
    reconstructions: dict[str, Evaluation] = {}
    for each in _pipeline_runs(project) if run_id is None else [run_id]:
        stage_run = open_run(project.root, each)
        model = load_model(each)
        if isinstance(model, ExperimentStage2):
            transfers[model.variant] = evaluator.transfer(model)
            _log(stage_run, transfers[model.variant], "eval")
            log_pairs(stage_run, project.pairs("test"))
            stage_run.datasets([evaluator.used(domain) for domain in DOMAINS])
            continue
        for domain in _domains(each):
            reconstructions[domain] = evaluator.reconstruction(model, domain)
            _log(stage_run, reconstructions[domain], f"eval/{domain}")
            stage_run.datasets([evaluator.used(domain)])
    folder = project.reports if run_id is None else project.reports / "runs" / run_id
    return write_reports(folder, transfers, reconstructions)


def _run_controlled(
    project: Project, run_id: str | None, alpha: float | None, beta: float, evaluator: _Evaluator
) -> dict[str, Any] | None:
    """Evaluate one stage-2 run under fidelity control; None where alpha and beta are its own anyway."""
    trained = _trained(project) if run_id is None else list(VARIANTS)
    exported = project.params().export.variant
    own_id = run_id or _linked(project, exported if exported in trained else trained[0])
    stage_run = open_run(project.root, own_id)
    model = _stage_2(own_id)
    fidelity = settle(alpha, beta, trained, model.variant)
    if fidelity == (ALPHA_OF[model.variant], 1.0):
        return None
    prefix = f"eval/{fidelity.name}"
    control = FidelityControl.of(model)
    if others := [variant for variant in fidelity.variants if variant != model.variant]:
        sibling_id = _sibling(run_id, others[0], fidelity) if run_id else _linked(project, others[0])
        print(f"alpha {fidelity.alpha:g}: run {own_id} ({model.variant}) with run {sibling_id} ({others[0]})")
        control = FidelityControl.of(model, _stage_2(sibling_id))
        stage_run.set_tags({f"{prefix}/sibling": sibling_id})
    evaluation = evaluator.transfer(model, partial(baselines.mixed, evaluator.placed(control), fidelity))
    _log(stage_run, evaluation, prefix)
    stage_run.datasets([evaluator.used(domain) for domain in DOMAINS])
    folder = project.reports / "runs" / run_id if run_id else project.reports / "fidelity"
    return write_reports(folder / fidelity.name, {fidelity.name: evaluation}, {})


def _stage_2(run_id: str) -> ExperimentStage2:
    model = load_model(run_id)
    if not isinstance(model, ExperimentStage2):
        raise UserError(f"run {run_id}: its model is of stage 1; alpha and beta are for runs of stage 2")
    return model


def _sibling(run_id: str, variant: Variant, fidelity: Fidelity) -> str:
    found = find_sibling(run_id)
    if found is None:
        raise UserError(
            f"run {run_id}: alpha = {fidelity.alpha:g} needs a {variant} run too, on the same stage-1 runs and with "
            f"the same parameters, and none finished; without it alpha is fixed at {1 - ALPHA_OF[variant]:g}"
        )
    return found


def load_model(run_id: str) -> Model:
    """The model that a training run logged, in eval mode on the CPU.

    Raises:
        UserError: the run has none, or what it has is not a model of stage 1 or 2.
    """
    with TemporaryDirectory() as folder:
        try:
            path = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="model", dst_path=folder))
            kind = json.loads((path / CONFIG).read_text(encoding="utf8"))["model"]
        except (MlflowException, OSError, ValueError, KeyError):
            raise UserError(f"run {run_id}: has no model; only a training run that finished can be evaluated") from None
        kinds: dict[str, type[Model]] = {k.__name__: k for k in (ExperimentStage1, ExperimentStage2)}
        if kind not in kinds:
            raise UserError(f"run {run_id}: its model is a {kind}; it must be one of {', '.join(kinds)}")
        return kinds[kind].from_pretrained(path)


def _pipeline_runs(project: Project) -> list[str]:
    """Run ids of both domains' VQGANs and of every variant that was trained."""
    variants = _trained(project)
    domains = [read_link(project.link(f"stage1_{domain}")).run_id for domain in DOMAINS]
    return domains + [_linked(project, variant) for variant in variants]


def _trained(project: Project) -> list[Variant]:
    variants = [variant for variant in VARIANTS if project.link(f"stage2_{variant}").exists()]
    if not variants:
        raise UserError(f"{project.link('stage2_discrete')}: not found; train a stage-2 model first: `dvc repro`")
    return variants


def _linked(project: Project, variant: Variant) -> str:
    return read_link(project.link(f"stage2_{variant}")).run_id


def _domains(run_id: str) -> tuple[Domain, ...]:
    """The domains that a stage-1 run was trained on."""
    domain = MlflowClient().get_run(run_id).data.params.get("stage1.domain")
    return tuple(d for d in DOMAINS if d == domain) or DOMAINS


class _Evaluator:
    """The test pictures and the perceptual network, for one model after another."""

    def __init__(self, project: Project, params: Params) -> None:
        self._params = params
        self._pictures = {domain: PackedPictures(project.prepared(domain), "test") for domain in DOMAINS}
        for domain, pictures in self._pictures.items():
            if not len(pictures):
                raise UserError(f"{project.prepared(domain)}: no test picture; raise data.test_share or add pictures")
        self._pairs_file = project.pairs("test")
        self._device = default_device()
        self._lpips = self.placed(LPIPS(params.evaluate.network))

    def transfer(self, model: ExperimentStage2, paint: Painter | None = None) -> Evaluation:
        pairs = read_pairs(self._pairs_file, self._pictures["content"], self._pictures["style"])
        return evaluate_transfer(
            self.placed(model),
            self._pictures["content"],
            self._pictures["style"],
            pairs,
            lpips=self._lpips,
            side=self._side(model),
            batch_size=self._params.evaluate.batch_size,
            samples=GRID_PAIRS,
            paint=paint,
        )

    def reconstruction(self, model: ExperimentStage1, domain: Domain) -> Evaluation:
        return evaluate_reconstruction(
            self.placed(model),
            self._pictures[domain],
            lpips=self._lpips,
            side=self._side(model),
            batch_size=self._params.evaluate.batch_size,
        )

    def used(self, domain: Domain) -> DataUsed:
        pictures = self._pictures[domain]
        return DataUsed(domain, pictures.digest, self._params.data.folder(domain), "test", len(pictures))

    def placed(self, network: Network) -> Network:
        # channels_last makes the attention four times as fast on CPUs, the convolutions one and a half times
        return network.to(self._device).to(memory_format=torch.channels_last)

    def _side(self, model: Model) -> int:
        side: int = model.config["ddconfig"]["resolution"]
        shortest = min(pictures.short_side for pictures in self._pictures.values())
        if side > shortest:
            raise UserError(
                f"the model was trained at {side} pixels, the pictures are stored with {shortest}: "
                f"set data.short_side to at least {side} and run `quantart prepare`"
            )
        return side


def _log(run: StageRun, evaluation: Evaluation, prefix: str) -> None:
    """Log means, interval ends, the table and the grid to the model's run; nothing if the same was logged before."""
    known = MlflowClient().get_run(run.run_id).data.metrics
    new = {name: value for name, value in _flat(evaluation, prefix).items() if known.get(name) != value}
    if not new:
        return
    run.metrics(new, step=0)
    if evaluation.samples:
        run.image(f"{prefix}/transfers", transfer_grid(evaluation.samples), step=0)
    with TemporaryDirectory() as folder:
        evaluation.table.to_csv(Path(folder) / "table.csv", index=False)
        pd.DataFrame(evaluation.summary).to_csv(Path(folder) / "summary.csv", index=False)
        run.artifact(Path(folder), prefix)


def _flat(evaluation: Evaluation, prefix: str) -> dict[str, float]:
    """`<prefix>/<metric>`, with `_low` and `_high` where there is an interval; a baseline's name goes before."""
    values = {f"{prefix}/n": float(evaluation.summary[0].n)}
    for score in evaluation.summary:
        method = "" if score.method == MODEL else f"{score.method}/"
        name = f"{prefix}/{method}{score.metric}"
        values |= {name: score.value, f"{name}_low": score.low, f"{name}_high": score.high}
    return {name: value for name, value in values.items() if not math.isnan(value)}
