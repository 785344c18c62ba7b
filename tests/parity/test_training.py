"""Both training trajectories equal the reference's: every logged loss of every step, and the weights afterwards.

They run through the same objectives as the pipeline, in float32 as the reference did.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from quantart.data.batches import CodeBatch
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.objective import AdversarialObjective, Phase
from quantart.training.reference_objective import ReferenceObjective
from quantart.training.stage1_objective import Stage1Objective

from . import test_networks
from .builders import DISCRIMINATOR, reference_logs, stage_1, stage_1_loss, stage_2, stage_2_loss
from .conftest import Case, prefixed
from .replay import assert_replayed

PHASES: tuple[Phase, ...] = ("generator", "discriminator")

assert_training = partial(assert_replayed, tolerance=1e-4)


@pytest.mark.golden("stage1_train*")
def test_stage_1_trajectory(case: Case) -> None:
    def replay(case: Case) -> dict[str, Tensor]:
        state = case.group("state")
        loss = stage_1_loss(case.config["lossconfig"], state)
        objective = Stage1Objective(stage_1(case.config, state), loss, reference_order=True)
        return train(objective, list(case["in/x"]), case.config)

    assert_training(replay, case)


@pytest.mark.golden("stage2_train*")
def test_stage_2_trajectory(case: Case) -> None:
    def replay(case: Case) -> dict[str, Tensor]:
        state = case.group("state")
        model = stage_2(case.config, state)
        objective = ReferenceObjective(model, stage_2_loss(case.config["lossconfig"], state), reference_order=True)
        batches = [codes(model.eval(), c, s) for c, s in zip(case["in/content"], case["in/style"], strict=True)]
        return train(objective, batches, case.config)

    assert_training(replay, case)


def test_every_case_is_replayed(golden: Path) -> None:
    functions = [f for f in (globals() | vars(test_networks)).values() if hasattr(f, "pytestmark")]
    patterns = [mark.args[0] for f in functions for mark in f.pytestmark if mark.name == "golden"]
    replayed = {file for pattern in patterns for file in golden.glob(f"{pattern}.safetensors")}
    assert replayed == set(golden.glob("*.safetensors"))


@torch.no_grad()
def codes(model: ExperimentStage2, content: Tensor, style: Tensor) -> CodeBatch:
    """Both pictures' indices, as the pipeline stores them."""
    content_z = model.quant_conv(model.encoder(content))
    style_z = model.quant_conv_real(model.encoder_real(style))
    return CodeBatch(model.quantize_enc.nearest(content_z), model.quantize_dec.nearest(style_z))


def train(objective: AdversarialObjective, batches: Sequence[Any], config: dict[str, Any]) -> dict[str, Tensor]:
    """Adam(0.5, 0.9); per batch the generator's step, then the discriminator's."""
    objective.train()
    parameters = {"generator": objective.trained_parameters(), "discriminator": objective.discriminator_parameters()}
    rate = config["learning_rate"]
    optimizers = {name: torch.optim.Adam(p, rate, betas=(0.5, 0.9)) for name, p in parameters.items()}
    logged: dict[str, list[Tensor]] = defaultdict(list)
    for i, batch in enumerate(batches):
        both: dict[str, Tensor] = {}
        for phase in PHASES:
            loss, logs = objective(batch, i, phase)
            optimizers[phase].zero_grad()
            loss.backward()
            optimizers[phase].step()
            both |= logs
        for name, value in reference_logs(both, config["lossconfig"]).items():
            logged[name].append(value)
    state = objective.model.state_dict() | prefixed(DISCRIMINATOR, objective.loss.discriminator.state_dict())
    return prefixed("log/", {name: torch.stack(v) for name, v in logged.items()}) | prefixed("state_after/", state)
