"""Runs the evaluation: which networks are measured, on which pictures, where reports and results go.

Of several processes each measures its part, and the first one writes and logs.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

from accelerate import PartialState
from mlflow import MlflowClient

from quantart.errors import UserError
from quantart.evaluation.networks import assign_weights
from quantart.machine.device import chosen_device, default_device
from quantart.models.folder import file_sha256
from quantart.models.stage_2 import ExperimentStage2
from quantart.params.evaluation import EvaluateParams
from quantart.params.training import SMALLEST_PAINTING
from quantart.pipeline.code import check_ready
from quantart.pipeline.controlled import controlled
from quantart.pipeline.evaluation_data import DEFAULT_PAIRS, EvaluationData, Selection, open_data
from quantart.pipeline.measure import Judge, Result, report, task_digest
from quantart.pipeline.trained import Network, Trained, named_run, project_network, run_network
from quantart.pipeline.training import log_pairs
from quantart.project import Project, tracked_root
from quantart.reporting.painting import part_in_training
from quantart.reporting.record import NEEDED, About, Record, write_record
from quantart.reporting.run_metrics import EVALUATION, count_name, digest_name, logged_values, outdated
from quantart.tracking.find import latest_points, logged_files
from quantart.tracking.lineage import DataUsed, parameters_of
from quantart.tracking.store import configure
from quantart.tracking.writer import HAS_IMAGES, TrackedRun, table_tag, table_text
from quantart.training.machines import check_shared
from quantart.vocabulary.methods import ADAIN, COPIED_CONTENT, COPIED_STYLE, MODEL
from quantart.vocabulary.names import DOMAINS, Domain
from quantart.vocabulary.shape import downsampling

_KEPT_PICTURES = (COPIED_CONTENT, COPIED_STYLE, MODEL, ADAIN)
_PAGES_TABLE = "table.json"  # the table for MLflow's page
_ROUNDING = 1e-4  # by which another batch size or device may differ

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options(Selection):
    """How an evaluation differs from the pipeline's own: which pictures, and what follows."""

    alpha: float | None = None  # visual fidelity, see `FidelityControl`; None: the model's own
    beta: float = 1.0  # style fidelity
    sweep: bool = False  # measure a grid of both instead
    weights: tuple[Path, ...] = ()  # files with weights of the networks that measure
    magenta: bool | None = None  # Magenta's network as one more baseline; None: as params.yaml says
    refine: int | None = None  # steps of the method `refined`, 0: none; None: as params.yaml says
    batch_size: int | None = None  # None: as params.yaml says
    device: str | None = None  # e.g. `cpu` or `cuda:1`; None: the default

    @property
    def controlled(self) -> bool:
        """Whether one stage-2 network is measured with settings of its own."""
        return self.sweep or self.alpha is not None or self.beta != 1.0


def run(project: Project | None, run_id: str | None = None, options: Options | None = None) -> dict[str, Any]:
    """Evaluate the project's networks, or that of one run: style transfer of stage 2, reconstruction of stage 1.

    The reports (see `write_reports`) go to `reports/`, or to `reports/runs/<run id>/` if a run was named, of the
    project or of the current folder. With an `alpha` or `beta` (visual and style fidelity) other than the model's own,
    one network is measured, by default the one that the project exports. Metrics and reports are then kept apart under
    the setting's name, e.g. `eval/a0.50_b1.00/…` and `…/a0.50_b1.00/`, or `sweep`.

    Without a project, `run_id` and one's own pictures must be given; for `run_id` see `named_run`. Returns every value,
    see `write_reports`; in the processes but the first, nothing.
    """
    options = options or Options()
    params = project.params().evaluate if project else EvaluateParams.model_validate({"pairs": DEFAULT_PAIRS})
    if project is not None:
        check_ready(project, "evaluate")
        check_shared(project.root, "evaluate")
    otherwise = " and give --run-id and pictures, --content and --style"
    root = tracked_root(project, otherwise=otherwise, enough=run_id is not None)
    configure(root)
    if options.sweep and (options.alpha is not None or options.beta != 1.0):
        raise UserError("--sweep goes over alpha and beta by itself", "leave --alpha and --beta out")
    evaluation = _Evaluation(project, options, params)
    with ExitStack() as stack:
        if run_id is not None:
            chosen = [stack.enter_context(run_network(named_run(root, run_id)))]
        else:
            assert project is not None  # noqa: S101 - tracked_root has seen to it
            chosen = [project_network(project, stage) for stage in _stages(project, options)]
        measured = [(trained, result) for trained in chosen for result in evaluation.evaluate(trained)]
    if not PartialState().is_main_process:
        return {}
    results = [result for _, result in measured]
    judges = [each.network for each in evaluation.judge.perception.textures]
    in_training = {r.name: part_in_training(judges, parameters_of(t.run)) for t, r in measured if r.is_transfer}
    folder = root / "reports"
    if run_id is not None:
        folder = folder / "runs" / chosen[0].run.info.run_id
    elif options.controlled:
        folder = folder / "fidelity"
    if not results[0].as_trained:
        folder = folder / results[0].name
    log.info("reports: %s", folder)
    return report(folder, results, in_training)


def _stages(project: Project, options: Options) -> list[str]:
    """The project's networks to measure: all that are trained; with settings of its own the exported one alone."""
    if not (trained := project.trained_variants):
        raise UserError(f"{project.stage2_model('discrete')}: no stage-2 network", "train one first: `dvc repro`")
    if options.controlled:
        exported = project.params().export.variant
        return [f"stage2_{exported if exported in trained else trained[0]}"]
    return [f"stage1_{domain}" for domain in DOMAINS] + [f"stage2_{variant}" for variant in trained]


class _Evaluation:
    """What stays the same from one measured network to the next."""

    def __init__(self, project: Project | None, options: Options, params: EvaluateParams) -> None:
        self._project = project
        self._options = options
        self._default_size = params.size
        self._refine = params.refine if options.refine is None else options.refine
        state = PartialState(cpu=default_device().type == "cpu")
        files = assign_weights(options.weights, (params.network, params.features))
        self._first = state.is_main_process
        self._weights = sorted(file_sha256(file) for file in files.values())
        self.judge = Judge(
            params.network,
            params.features,
            weights=files,
            batch_size=options.batch_size or params.batch_size,
            magenta=params.magenta if options.magenta is None else options.magenta,
            refine=self._refine,
            device=chosen_device(options.device) if options.device and state.num_processes == 1 else state.device,
        )

    def evaluate(self, trained: Trained) -> list[Result]:
        """Measure one network and log it.

        A stage-1 network is measured on each domain that it was trained on; of one's own pictures on those given.
        """
        network = trained.load_stage_2("alpha or beta") if self._options.controlled else trained.load()
        network = self.judge.placed(network)
        shape = network.config["ddconfig"]
        side = self._size(shape) if isinstance(network, ExperimentStage2) else int(shape["resolution"])
        domains = _domains(trained, network, self._options)
        with open_data(self._project, self._options, side, domains) as data:
            if isinstance(network, ExperimentStage2):
                return [self._transfer(trained, network, data, side)]
            results = []
            for domain in domains:
                task = data.reconstruction_task(domain, side)
                results.append(self.judge.measure_reconstruction(network, task, domain))
                if self._first:
                    self._log(trained, results[-1], data, (domain,))
            return results

    def _size(self, shape: Mapping[str, Any]) -> int:
        """Side in pixels of the squares that pairs are judged at, given the shape of the model's VQGANs."""
        size, down = self._options.size or self._default_size, downsampling(shape)
        if self._refine and size < SMALLEST_PAINTING:
            raise UserError(f"size {size}: too small to be refined", f"use at least {SMALLEST_PAINTING}, or refine 0")
        if size % down:
            raise UserError(f"size {size}: the model needs a multiple of {down}", f"use {size // down * down or down}")
        return size

    def _transfer(self, trained: Trained, network: ExperimentStage2, data: EvaluationData, side: int) -> Result:
        task, asked = data.transfer_task(side), (self._options.alpha, self._options.beta, self._options.sweep)
        with controlled(self._project, trained, network, *asked) as (settings, other):
            result = self.judge.measure_transfer(network, task, settings, pictures=self._first)
        if self._first:
            prefix = self._log(trained, result, data, DOMAINS)
            run = TrackedRun(trained.run.info.run_id)
            if other is not None:
                run.set_tags({f"{prefix}/sibling": other.run.info.run_id})
            if data.stored_pairs and result.as_trained:
                log_pairs(run, data.stored_pairs)
        return result

    def _log(self, trained: Trained, result: Result, data: EvaluationData, domains: Sequence[Domain]) -> str:
        """Log the result if it is new; the prefix that it has in the run."""
        about = self._about(result, data, domains)
        label = data.label(about.digest) if not self._weights else f"weights_{about.digest[:8]}"
        # a stage-1 run may have been trained on both domains
        name = "" if result.is_transfer and result.as_trained else result.name
        prefix = "/".join(filter(None, [EVALUATION, "_".join(filter(None, [label, name]))]))
        run = TrackedRun(trained.run.info.run_id)
        new = _log_evaluation(run, result, about, prefix, [data.used(domain) for domain in domains])
        log.info("%s: %s/… %s", trained.name, prefix, "logged" if new else "is as it was logged before")
        return prefix

    def _about(self, result: Result, data: EvaluationData, domains: Sequence[Domain]) -> About:
        content, style, *_ = [*map(data.source, domains), ""]
        names = (self.judge.perception.lpips.network, self.judge.perception.pool.network)
        digest, n = task_digest(result, self._weights), result.evaluation.n
        kind: Literal["transfer", "reconstruction"] = "transfer" if result.is_transfer else "reconstruction"
        return About(kind, digest, n, *names, result.side, *result.fidelity, content, style)


def _domains(trained: Trained, network: Network, selection: Selection) -> tuple[Domain, ...]:
    """The domains on whose pictures a network is measured."""
    if isinstance(network, ExperimentStage2):
        return DOMAINS
    domain = trained.run.data.params.get("stage1.domain")
    trained_on = tuple(each for each in DOMAINS if each == domain) or DOMAINS
    return tuple(each for each in trained_on if each in selection.own) or trained_on


def _log_evaluation(run: TrackedRun, result: Result, about: About, prefix: str, datasets: Sequence[DataUsed]) -> bool:
    """Log metrics with their intervals, the record, its table, pictures and the data's digest under `prefix`.

    A sweep becomes no metrics. Another evaluation under the same prefix takes the record's place; its metrics become
    the next step of the history, in which what it did not measure is NaN. While they are replaced, the run has no
    digest. False where the same was logged before, and its record is there; then nothing is.
    """
    client, evaluation, sweep = MlflowClient(), result.evaluation, result.sweep
    former = client.get_run(run.run_id)
    known = former.data
    values = {count_name(prefix): float(about.n)} | logged_values({} if sweep else evaluation.summary, prefix)
    old = outdated(known.metrics, values, prefix)
    same = known.tags.get(digest_name(prefix)) == about.digest and not old and _alike(values, known.metrics)
    if same and logged_files(run.run_id, prefix) >= set(NEEDED):
        return False
    if digest_name(prefix) in known.tags:
        client.delete_tag(run.run_id, digest_name(prefix))
    last = latest_points(former).get(count_name(prefix))
    step = 1 + last.step if last else 0
    record = Record(
        about,
        evaluation.table,
        evaluation.summary_table(),
        evaluation.features,
        {pair: {m: each[m] for m in _KEPT_PICTURES if m in each} for pair, each in evaluation.samples.items()},
    )
    with TemporaryDirectory() as folder:
        write_record(Path(folder), record)
        if sweep:
            sweep.write(Path(folder))
        Path(folder, _PAGES_TABLE).write_text(table_text(evaluation.table), encoding="utf8")
        run.artifact(Path(folder), prefix)
    run.images({f"{prefix}/{name}": picture for name, picture in result.images.items()}, step)
    run.datasets(datasets)
    tags = table_tag(f"{prefix}/{_PAGES_TABLE}", known.tags) | (HAS_IMAGES if result.images else {})
    # the digest last: an evaluation that was stopped in the middle is logged again
    run.metrics(values | dict.fromkeys(old, math.nan), step, tags | {digest_name(prefix): about.digest})
    return True


def _alike(values: Mapping[str, float], known: Mapping[str, float]) -> bool:
    return all(
        math.isclose(value, known.get(name, math.nan), rel_tol=_ROUNDING, abs_tol=_ROUNDING)
        for name, value in values.items()
    )
