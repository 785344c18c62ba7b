"""Evaluate: measure trained models on held-out pictures beside baselines; write reports, log to the models' own runs.

Of several processes each measures its share, and the first one writes and logs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from mlflow.entities import Run

from quantart.errors import UserError
from quantart.images.write import write_image
from quantart.pipeline.evaluator import EXTREMES, Evaluator, Options
from quantart.project import Project, tracked_root
from quantart.reporting.reports import write_reports
from quantart.tracking.find import find_run
from quantart.tracking.links import read_link
from quantart.tracking.store import configure
from quantart.vocabulary.names import DOMAINS, VARIANTS, Variant


def run(project: Project | None, run_id: str | None = None, options: Options | None = None) -> dict[str, Any]:
    """Evaluate the pipeline's runs, or one run: style transfer of stage 2, reconstruction of stage 1.

    The reports (see `write_reports`) go to `reports/`, or to `reports/runs/<run id>/` where a run was named, of the
    project or of the current folder. With another visual fidelity `alpha` or style fidelity `beta` than the model's own
    it is one run, by default the one that the project exports; metrics and reports are then kept apart under the
    setting's name, e.g. `eval/a0.50_b1.00/…` and `…/a0.50_b1.00/`, or `sweep`.

    Args:
        project: None: nothing local but pictures; then `run_id` and one's own pictures must be given.
        run_id: of a training run known to the tracking store, the beginning of one, or its name.

    Returns:
        Every value, see `write_reports`; nothing in the processes but the first.

    Raises:
        UserError: wrong parameters, no trained model, no test picture or pair, a run that is unknown or has no model,
            or an alpha or beta that it can't do.
    """
    options = options or Options()
    if project is not None:
        project.params()  # what is wrong in it is said before anything is made
        project.check_writable()
    otherwise = " and give --run-id and pictures, --content and --style"
    configure(tracked_root(project, otherwise=otherwise, enough=run_id is not None))
    evaluator = Evaluator(project, options)
    if run_id is not None:
        runs = [find_run(run_id)]
    else:
        assert project is not None  # noqa: S101 - _root has seen to it
        runs = _exported(project) if options.controlled else _pipeline_runs(project)
    results = [result for each in runs for result in evaluator.evaluate(each)]
    if not PartialState().is_main_process:
        return {}
    folder = (project.root if project else Path.cwd()) / "reports"
    if run_id is not None:
        folder = folder / "runs" / runs[0].info.run_id
    elif options.controlled:
        folder = folder / "fidelity"
    if options.controlled and not (only := results[0]).own:
        folder = folder / only.name
    print(f"reports: {folder}")
    if sweep := results[0].sweep:
        return sweep.write(folder)
    transfers = {result.name: result.evaluation for result in results if result.transfer}
    values = write_reports(folder, transfers, {r.name: r.evaluation for r in results if not r.transfer})
    for result in results:
        if EXTREMES in result.images:
            write_image(folder / "grids" / f"{result.name}_{EXTREMES}.png", result.images[EXTREMES])
    return values


def _pipeline_runs(project: Project) -> list[Run]:
    """Those of both domains' VQGANs and of every variant that was trained."""
    stages = [f"stage1_{domain}" for domain in DOMAINS] + [f"stage2_{variant}" for variant in _trained(project)]
    return [_linked(project, stage) for stage in stages]


def _exported(project: Project) -> list[Run]:
    trained, exported = _trained(project), project.params().export.variant
    return [_linked(project, f"stage2_{exported if exported in trained else trained[0]}")]


def _trained(project: Project) -> list[Variant]:
    variants = [variant for variant in VARIANTS if project.link(f"stage2_{variant}").exists()]
    if not variants:
        raise UserError(f"{project.link('stage2_discrete')}: not found; train a stage-2 model first: `dvc repro`")
    return variants


def _linked(project: Project, stage: str) -> Run:
    return find_run(read_link(project.link(stage)).run_id)
