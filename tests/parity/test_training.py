"""Both training trajectories equal the reference's: every logged loss of every step, and the weights afterwards.

They run through the same step modules as the pipeline, in float64, so that our side adds no rounding of its own. The
reference ran in float32, and Adam divides each gradient by its own size: where a gradient is only rounding (a bias
before a norm of its own channel, the keys' bias before the softmax), its weights wandered at random by up to the
learning rate per step. `Allowance` widens the tolerance there, and there alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantart.models.stage_2 import ExperimentStage2
from quantart.training.stage_1 import Stage1Step
from quantart.training.stage_2 import Stage2Step
from quantart.training.step import AdversarialStep, Phase

from . import test_networks
from .builders import (
    assert_near,
    discriminator_state,
    network_state,
    stage_1,
    stage_1_loss,
    stage_2,
    stage_2_loss,
)
from .conftest import Case

TRAINING = 1e-4
GRADIENT_ROUNDING = 2e-6  # of the largest element of its tensor: what float32 sums leave of it


@pytest.mark.golden("stage1_train*")
def test_stage_1_trajectory(case: Case) -> None:
    state, after = case.group("state"), case.group("state_after")
    model = stage_1(case.config, state)
    step = Stage1Step(model, stage_1_loss(case.config["lossconfig"], state), reference_order=True)
    logs, allowance = train(step, list(case["in/x"].double()), case.config["learning_rate"])
    assert_logs_near(logs, case.group("log"))
    allowance.assert_state_near(model, network_state(after))
    allowance.assert_state_near(step.loss.discriminator, discriminator_state(after))


@pytest.mark.golden("stage2_train*")
def test_stage_2_trajectory(case: Case) -> None:
    state, after = case.group("state"), case.group("state_after")
    model = stage_2(case.config, state)
    step = Stage2Step(model, stage_2_loss(case.config["lossconfig"], state), reference_order=True)
    batches = [codes(model, c, s) for c, s in zip(case["in/content"], case["in/style"], strict=True)]
    logs, allowance = train(step, batches, case.config["learning_rate"])
    assert_logs_near(logs, case.group("log"))
    trained = {n.removeprefix("model_x2y."): t for n, t in after.items() if n.startswith("model_x2y.")}
    allowance.assert_state_near(model.model_x2y, trained)
    allowance.assert_state_near(step.loss.discriminator, discriminator_state(after))
    for name, value in network_state(state).items():
        if not name.startswith("model_x2y."):
            assert_near(model.state_dict()[name], value, 0.0, name)


def test_every_case_is_replayed(golden: Path) -> None:
    functions = [f for f in (globals() | vars(test_networks)).values() if hasattr(f, "pytestmark")]
    patterns = [mark.args[0] for f in functions for mark in f.pytestmark if mark.name == "golden"]
    replayed = {file for pattern in patterns for file in golden.glob(f"{pattern}.safetensors")}
    assert replayed == set(golden.glob("*.safetensors"))


@torch.no_grad()
def codes(model: ExperimentStage2, content: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """Both pictures' indices, as the pipeline stores them."""
    content_z = model.quant_conv(model.encoder(content))
    style_z = model.quant_conv_real(model.encoder_real(style))
    return model.quantize_enc.nearest(content_z), model.quantize_dec.nearest(style_z)


class Allowance:
    """How far from the exact weights Adam may have come in float32.

    Float32 knows a gradient g to within r: the rounding in its tensor, or of the largest gradient beside it. Adam's
    step is about lr · g / |g|, so two computations may differ by 2 lr · min(1, r / |g|).
    """

    def __init__(self, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self.drift: dict[nn.Parameter, Tensor] = {}

    def add(self, parameters: Sequence[nn.Parameter]) -> None:
        """Count one step, after its backward pass."""
        gradients = {p: p.grad.abs() for p in parameters if p.grad is not None}
        rounding = torch.finfo(torch.float32).eps * max(g.max() for g in gradients.values())
        for p, gradient in gradients.items():
            uncertain = torch.maximum(GRADIENT_ROUNDING * gradient.max(), rounding)
            # a discriminator that does not count yet has no gradient at all, hence no drift
            drift = 2.0 * self.learning_rate * (uncertain / gradient.clamp_min(1e-30)).clamp(max=1.0)
            self.drift[p] = self.drift.get(p, torch.zeros_like(p)) + drift

    def assert_state_near(self, module: nn.Module, expected: dict[str, Tensor]) -> None:
        """All of the module's state is as expected, and few weights needed the allowance to be so."""
        state, parameters = module.state_dict(), dict(module.named_parameters())
        assert state.keys() == expected.keys()
        wide = total = 0
        for name, value in expected.items():
            tolerance = TRAINING * value.abs().max()
            drift = self.drift.get(parameters.get(name), torch.zeros(()))
            assert ((state[name] - value).abs() <= tolerance + drift).all(), name
            wide += int((drift > tolerance).sum())
            total += value.numel()
        assert wide < 0.05 * total


def train(
    step: AdversarialStep, batches: Sequence[Any], learning_rate: float
) -> tuple[dict[str, list[float]], Allowance]:
    """Adam(0.5, 0.9) in float64; per batch the generator's step, then the discriminator's."""
    step.train().double()
    parameters = {"generator": step.generator_parameters(), "discriminator": step.discriminator_parameters()}
    optimizers = {name: torch.optim.Adam(p, learning_rate, betas=(0.5, 0.9)) for name, p in parameters.items()}
    logged: dict[str, list[float]] = defaultdict(list)
    allowance = Allowance(learning_rate)
    phases: tuple[Phase, ...] = ("generator", "discriminator")
    for i, batch in enumerate(batches):
        for phase in phases:
            loss, logs = step(batch, phase, i)
            optimizers[phase].zero_grad()
            loss.backward()
            allowance.add(parameters[phase])
            optimizers[phase].step()
            for name, value in logs.items():
                logged[name].append(value.item())
    return logged, allowance


def assert_logs_near(logs: dict[str, list[float]], expected: dict[str, Tensor]) -> None:
    for name, values in expected.items():
        assert_near(torch.tensor(logs[name], dtype=torch.float64), values, TRAINING, name)
