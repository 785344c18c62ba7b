"""One step's update of the weights: generator's phase, discriminator's phase, averaged weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from quantart.training.means import Means
from quantart.training.step import AdversarialStep, Phase

if TYPE_CHECKING:
    from quantart.params.training import TrainingParams


class Update:
    """Trains the networks of a step on the accelerator's device, together with its other processes.

    There is an optimiser for each phase that trains something; `factor` is the ratio of the discriminator's learning
    rate to the generator's. `averaged` is the model with averaged weights, None where `params.weight_ema` is 0.
    """

    def __init__(self, step: AdversarialStep, params: TrainingParams, accelerator: Accelerator, factor: float) -> None:
        self._params = params
        self._accelerator = accelerator
        self._factors: dict[Phase, float] = {"generator": 1.0, "discriminator": factor}
        self.step = step.to(accelerator.device).train()
        self.averaged: AveragedModel | None = None
        if params.weight_ema:
            average = get_ema_multi_avg_fn(params.weight_ema)
            self.averaged = AveragedModel(step.model, multi_avg_fn=average, use_buffers=False)
        trained: dict[Phase, list[nn.Parameter]] = {
            "generator": step.generator_parameters(),
            "discriminator": step.discriminator_parameters(),
        }
        self._trained = trained["generator"]
        self.optimizers = {phase: _adam(part, params, self._factors[phase]) for phase, part in trained.items() if part}
        self._wrapped = accelerator.prepare_model(step, device_placement=False)

    def __call__(self, batch: Any, step: int, totals: Means) -> None:
        """Update the weights from a batch and add the values to log to `totals`."""
        rate = learning_rate(self._params, step)
        for phase, optimizer in self.optimizers.items():
            if phase == "discriminator" and not self.step.discriminator_runs(step):
                continue
            for group in optimizer.param_groups:
                group["lr"] = rate * self._factors[phase]
            output = self._wrapped(batch, phase, step)
            self._accelerator.backward(output.loss)
            if phase == "generator":
                limit = self._params.grad_clip or math.inf
                totals.add({"grad_norm": nn.utils.clip_grad_norm_(self._trained, limit)}, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            totals.add(output.logs, step)
        if self.averaged is not None:
            self.averaged.update_parameters(self.step.model)

    @property
    def best(self) -> nn.Module:
        """The model with averaged weights if they are on, else the trained one."""
        return self.step.model if self.averaged is None else self.averaged.module


def learning_rate(params: TrainingParams, step: int) -> float:
    """Rate at `step`, from 0: constant, or half a cosine from the full rate down to zero at `params.steps`."""
    if params.schedule == "constant":
        return params.learning_rate
    return params.learning_rate * 0.5 * (1.0 + math.cos(math.pi * step / params.steps))


def _adam(parameters: list[nn.Parameter], params: TrainingParams, factor: float) -> torch.optim.Optimizer:
    betas = (params.betas[0], params.betas[1])
    kind = torch.optim.AdamW if params.weight_decay else torch.optim.Adam
    rate = params.learning_rate * factor
    return kind(parameters, lr=rate, betas=betas, weight_decay=params.weight_decay, fused=True)
