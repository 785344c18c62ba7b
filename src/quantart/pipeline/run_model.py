"""The network that a training run logged."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from mlflow.entities import Run

from quantart.errors import UserError
from quantart.models.pretrained import CONFIG
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.tracking.find import find_model, run_in_words

Model = ExperimentStage1 | ExperimentStage2


def load_model(run: Run) -> Model:
    """The model that a training run logged, in eval mode on the CPU.

    Raises:
        UserError: the run has none, or what it has is not a model of stage 1 or 2.
    """
    kinds: dict[str, type[Model]] = {kind.__name__: kind for kind in (ExperimentStage1, ExperimentStage2)}
    with TemporaryDirectory() as folder:
        path = find_model(run, Path(folder))
        try:
            kind = json.loads((path / CONFIG).read_text(encoding="utf8"))["model"]
        except (OSError, ValueError, KeyError):
            raise UserError(f"run {run_in_words(run)}: its model has no readable {CONFIG}; train it again") from None
        if kind not in kinds:
            raise UserError(f"run {run_in_words(run)}: its model is a {kind}; it must be one of {', '.join(kinds)}")
        return kinds[kind].from_pretrained(path)


def load_stage_2(run: Run) -> ExperimentStage2:
    """As `load_model`, of a stage-2 run.

    Raises:
        UserError: it is of stage 1.
    """
    return as_stage_2(run, load_model(run))


def as_stage_2(run: Run, model: Model) -> ExperimentStage2:
    """The model that a run logged, where it is of stage 2.

    Raises:
        UserError: it is of stage 1.
    """
    if not isinstance(model, ExperimentStage2):
        raise UserError(f"run {run_in_words(run)}: its model is of stage 1; alpha and beta are for runs of stage 2")
    return model
