"""One evaluation of one run: which networks take part, what is measured, what is logged."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar, cast

import torch
from accelerate import PartialState
from mlflow.entities import Run

from quantart.errors import UserError
from quantart.evaluation import baselines
from quantart.evaluation.baselines import MAGENTA, Painter
from quantart.evaluation.evaluate import EvaluationResult, evaluate_reconstruction, evaluate_transfer
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.networks import FeatureNetwork, assign_weights
from quantart.evaluation.observed import Perception
from quantart.evaluation.rendering import PairRenderer
from quantart.evaluation.task import TransferTask
from quantart.images.arrays import Picture
from quantart.losses.lpips import LPIPS
from quantart.machine.device import chosen_device, default_device
from quantart.models.fidelity import Fidelity
from quantart.models.pretrained import file_sha256
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params.evaluation import EvaluateParams
from quantart.pipeline.evaluation_data import EvaluationData, Selection, open_data
from quantart.pipeline.evaluation_log import log_evaluation
from quantart.pipeline.fidelity_runs import ControlledRun
from quantart.pipeline.pair import log_pairs
from quantart.pipeline.run_model import as_stage_2, load_model
from quantart.project import Project
from quantart.reporting.grids import GRID_PAIRS, ranked_grid, ranked_pairs, transfer_grid
from quantart.reporting.record import About
from quantart.reporting.run_metrics import EVALUATION
from quantart.reporting.sweep import Sweep
from quantart.tracking.find import run_in_words
from quantart.tracking.runs import open_run
from quantart.vocabulary.metrics import MODEL
from quantart.vocabulary.names import DOMAINS, Domain, Split

Network = TypeVar("Network", bound=torch.nn.Module)
EACH_EXTREME = 3
SWEPT, EXTREMES = "sweep", "extremes"


@dataclass(frozen=True)
class Options:
    """What one evaluation does otherwise than the pipeline's.

    Attributes:
        alpha, beta: visual and style fidelity, see `FidelityControl`; None: the model's own alpha.
        sweep: a grid of both instead.
        split, content, style, pairs: which pictures, see `Selection`.
        weights: files with weights of the networks that judge.
        magenta: Magenta's network as one more baseline; None: as params.yaml says.
        batch_size: None: as params.yaml says.
        device: e.g. `cpu` or `cuda:1`; None: the default.
    """

    alpha: float | None = None
    beta: float = 1.0
    sweep: bool = False
    split: Split = "test"
    content: Path | None = None
    style: Path | None = None
    pairs: int | None = None
    weights: tuple[Path, ...] = ()
    magenta: bool | None = None
    batch_size: int | None = None
    device: str | None = None

    @property
    def controlled(self) -> bool:
        """Whether one stage-2 run is evaluated with settings of its own."""
        return self.sweep or self.alpha is not None or self.beta != 1.0


class Result(NamedTuple):
    """An evaluation that was logged."""

    name: str
    """Variant, setting or domain."""
    evaluation: EvaluationResult
    transfer: bool
    """Of stage 2, else a reconstruction."""
    own: bool
    """Whether the settings are the model's own."""
    images: dict[str, Picture]
    """That were logged, by name."""
    sweep: Sweep | None = None


class Evaluator:
    """The networks that judge, and everything that does not change from run to run."""

    def __init__(self, project: Project | None, options: Options) -> None:
        params = project.params() if project else None
        settings = params.evaluate if params else EvaluateParams.model_validate({"pairs": 48})
        self._project = project
        self._options = options
        self._selection = Selection(
            options.split, options.content, options.style, options.pairs, settings.pairs, params.seed if params else 0
        )
        self._batch_size = options.batch_size or settings.batch_size
        state = PartialState(cpu=default_device().type == "cpu")
        several = state.num_processes > 1
        self._device = state.device if several or not options.device else chosen_device(options.device)
        files = assign_weights(options.weights, (settings.network, settings.features))
        self._weights = sorted(file_sha256(file) for file in files.values())
        self._perception = Perception(
            self._placed(LPIPS(settings.network, files.get(settings.network))),
            self._placed(FeatureNetwork(settings.features, files.get(settings.features))),
        )
        self._magenta = options.magenta if options.magenta is not None else settings.magenta

    def evaluate(self, run: Run) -> list[Result]:
        """Measure one run and log it.

        A stage-1 run is measured on each domain that it was trained on, of one's own pictures on those that were given.
        """
        model = self._placed(load_model(run))
        side = int(model.config["ddconfig"]["resolution"])
        if isinstance(model, ExperimentStage2):
            with open_data(self._project, self._selection, side, DOMAINS) as data:
                return [self._transfer(run, model, data, data.transfer(side))]
        if self._options.controlled:
            as_stage_2(run, model)
        trained_on, own = _domains(run), self._selection.own
        domains = [domain for domain in trained_on if domain in own] or trained_on
        with open_data(self._project, self._selection, side, domains) as data:
            return [self._reconstruction(run, model, data, domain, side) for domain in domains]

    def _transfer(self, run: Run, model: ExperimentStage2, data: EvaluationData, task: TransferTask) -> Result:
        options = self._options
        if options.sweep and (options.alpha is not None or options.beta != 1.0):
            raise UserError("--sweep goes over alpha and beta by itself: leave --alpha and --beta out")
        controlled = ControlledRun(self._project, run, model)
        fidelities = controlled.sweep() if options.sweep else [controlled.settle(options.alpha, options.beta)]
        own = not options.sweep and controlled.is_own(fidelities[0])
        painters: dict[str, Painter] = {}
        if not own:
            control = self._placed(controlled.control())
            if controlled.sibling and PartialState().is_main_process:
                print(f"with the other variant of run {run_in_words(controlled.sibling)}")
            painters = {
                fidelity.name if options.sweep else MODEL: partial(baselines.mixed, control, fidelity)
                for fidelity in fidelities
            }
        render = PairRenderer(model, task, self._perception, self._batch_size, painters, self._extras(model))
        evaluation = evaluate_transfer(render, samples=GRID_PAIRS)
        name = model.variant if own else SWEPT if options.sweep else fidelities[0].name
        sweep = Sweep.of(evaluation, fidelities, self._perception.lpips) if options.sweep else None
        first = PartialState().is_main_process
        images = self._images(render, evaluation) if first and not options.sweep else {}
        result = Result(name, evaluation, True, own, images, sweep)
        if first:
            fidelity = Fidelity(math.nan, math.nan) if options.sweep else fidelities[0]
            prefix = self._log(run, result, data, DOMAINS, self._about(data, result, task.side, fidelity))
            with open_run(run.info.run_id) as tracked:
                if controlled.sibling and not own:
                    tracked.set_tags({f"{prefix}/sibling": controlled.sibling.info.run_id})
                if data.stored_pairs and own:
                    log_pairs(tracked, data.stored_pairs)
        return result

    def _reconstruction(
        self, run: Run, model: ExperimentStage1, data: EvaluationData, domain: Domain, side: int
    ) -> Result:
        task = data.reconstruction(domain, side)
        evaluation = evaluate_reconstruction(model, task, self._perception, batch_size=self._batch_size)
        result = Result(domain, evaluation, transfer=False, own=True, images={})
        if PartialState().is_main_process:
            nan = Fidelity(math.nan, math.nan)
            self._log(run, result, data, (domain,), self._about(data, result, side, nan))
        return result

    def _log(
        self,
        run: Run,
        result: Result,
        data: EvaluationData,
        domains: Sequence[Domain],
        about: About,
    ) -> str:
        """Log the result where it is new; the prefix that it has in the run."""
        label = data.label(about.digest) if not self._weights else f"weights_{about.digest[:8]}"
        # a stage-1 run may have been trained on both domains
        name = "" if result.transfer and result.own else result.name
        prefix = "/".join(filter(None, [EVALUATION, "_".join(filter(None, [label, name]))]))
        with open_run(run.info.run_id) as tracked:
            new = log_evaluation(
                tracked,
                result.evaluation,
                about,
                prefix,
                scores=[] if result.name == SWEPT else result.evaluation.summary,
                images=result.images,
                datasets=[data.used(domain) for domain in domains],
                sweep=result.sweep,
            )
        print(f"run {run_in_words(run)}: {prefix}/… {'logged' if new else 'is as it was logged before'}")
        return prefix

    def _about(self, data: EvaluationData, result: Result, side: int, fidelity: Fidelity) -> About:
        lpips, features = self._perception
        domains = DOMAINS if result.transfer else (cast(Domain, result.name),)
        content, style, *_ = [*map(data.source, domains), ""]
        n = result.evaluation.summary[0].n
        kind: Literal["transfer", "reconstruction"] = "transfer" if result.transfer else "reconstruction"
        networks = (lpips.network, features.network)
        # with weights of one's own a metric keeps its name, but compares with those of the same weights alone
        lines = [result.evaluation.digest, *self._weights]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest() if self._weights else lines[0]
        return About(kind, digest, n, *networks, side, *fidelity, content, style)

    def _images(self, render: PairRenderer, evaluation: EvaluationResult) -> dict[str, Picture]:
        """Grids of the first pairs, and of the best, the median and the worst."""
        column = f"pair_composite_{self._perception.lpips.network}"
        ranked = ranked_pairs(evaluation.table, column, EACH_EXTREME)
        pictures = render.paint(sorted({number for numbers in ranked.values() for number in numbers}))
        return {
            "transfers": transfer_grid(list(evaluation.samples.values())),
            EXTREMES: ranked_grid(pictures, evaluation.table, column, EACH_EXTREME),
        }

    def _extras(self, model: ExperimentStage2) -> dict[str, Painter]:
        if not self._magenta:
            return {}
        stylizer = MagentaStylizer()
        return {MAGENTA: lambda photographs, paintings: baselines.repainted(model, stylizer(photographs, paintings))}

    def _placed(self, network: Network) -> Network:
        # channels_last makes the attention four times as fast on CPUs, the convolutions one and a half times
        return network.to(self._device).to(memory_format=torch.channels_last)


def _domains(run: Run) -> tuple[Domain, ...]:
    """The domains that a stage-1 run was trained on."""
    domain = run.data.params.get("stage1.domain")
    return tuple(d for d in DOMAINS if d == domain) or DOMAINS
