"""The reference's procedure, built from our modules: float32, NCHW, hand-written attention, everything made anew.

What it leaves out of the product: the fused attention, the channels-last layout, one forward pass for both phases,
stored codes, fused Adam.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from quantart.components.blocks import AttnBlock, ChannelsLastConv
from quantart.data.batches import CodeBatch
from quantart.losses.lpips import LPIPS
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.objective import AdversarialObjective, Phase
from quantart.training.reference_objective import ReferenceObjective
from quantart.training.stage1_objective import Stage1Objective

Module = TypeVar("Module", bound=nn.Module)

PHASES: tuple[Phase, ...] = ("generator", "discriminator")


class PlainAttention(AttnBlock):
    """Attention with all its weights written out: `(b, h·w, h2·w2)`."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        normed = self.norm(x)
        source = normed if context is None else self.norm(context)
        q, k, v = (part.flatten(2) for part in (self.q(normed), self.k(source), self.v(source)))  # (b, c, n)
        weights = (torch.bmm(q.transpose(1, 2), k) * q.shape[1] ** -0.5).softmax(2)
        h = self.proj_out(torch.bmm(v, weights.transpose(1, 2)).reshape(x.shape))
        return x + h if self.residual else h


class PlainLPIPS(LPIPS):
    """The distance in the default layout."""

    def features(self, x: Tensor) -> list[Tensor]:
        h, outputs = (x - self.mean) / self.std, []
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if i in self._taps:
                outputs.append(h)
        return outputs


def plain(module: Module) -> Module:
    """`module` itself, in the default layout and with plain attention."""
    classes: dict[type[nn.Module], type[nn.Module]] = {
        AttnBlock: PlainAttention,
        LPIPS: PlainLPIPS,
        ChannelsLastConv: nn.Conv2d,
    }
    for part in module.modules():
        part.__class__ = classes.get(type(part), type(part))
    return module.to(memory_format=torch.contiguous_format)


def encode(model: ExperimentStage1, pictures: Tensor) -> Tensor:
    """Pictures `(b, 3, h, w)` to codes `(b, h, w)`."""
    with torch.no_grad():
        return model.encode(pictures).indices


def stylise(model: ExperimentStage2, content: Tensor, style: Tensor) -> Tensor:
    """Pictures `(b, 3, h, w)` to pictures: both encoders, the transfer, the decoder."""
    with torch.no_grad():
        return model(content, style)


def stage_1_step(objective: Stage1Objective, learning_rate: float) -> Callable[[Tensor], None]:
    """Two forward passes of the VQGAN a step: for its own loss, and anew for the discriminator's."""
    optimizers = _adams(objective, learning_rate)

    def update(pictures: Tensor) -> None:
        for phase in PHASES:
            _optimise(objective, pictures, phase, optimizers[phase])

    return update


def stage_2_step(objective: ReferenceObjective, learning_rate: float) -> Callable[[Tensor, Tensor], None]:
    """Both frozen encoders over both pictures, in each of the two passes."""
    optimizers = _adams(objective, learning_rate)
    model = objective.model

    def update(content: Tensor, style: Tensor) -> None:
        for phase in PHASES:
            with torch.no_grad():
                codes = CodeBatch(
                    model.quantize_enc.nearest(model.quant_conv(model.encoder(content))),
                    model.quantize_dec.nearest(model.quant_conv_real(model.encoder_real(style))),
                )
            _optimise(objective, codes, phase, optimizers[phase])

    return update


def _adams(objective: AdversarialObjective, learning_rate: float) -> dict[Phase, torch.optim.Optimizer]:
    parts = objective.trained_parameters(), objective.discriminator_parameters()
    return {
        phase: torch.optim.Adam(part, lr=learning_rate, betas=(0.5, 0.9))
        for phase, part in zip(PHASES, parts, strict=True)
    }


def _optimise(objective: AdversarialObjective, batch: Any, phase: Phase, optimizer: torch.optim.Optimizer) -> None:
    output = objective(batch, 0, phase)
    optimizer.zero_grad()
    output.loss.backward()
    optimizer.step()
    {name: value.item() for name, value in output.logs.items()}  # logged at every step
