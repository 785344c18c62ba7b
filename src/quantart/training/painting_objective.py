"""`stage2.objective: painting`: the training of stage 2 on decoded pictures, by a network that paints."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from quantart.components.codebook import CodeWindow
from quantart.components.twin_transfer import TwinTransferModule
from quantart.data.batches import PairBatch
from quantart.losses.painting import PaintingLoss
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.objective import Objective, ObjectiveOutput


class PaintingObjective(Objective):
    """Trains `model.model_x2y` alone; the rest of the model is frozen here.

    Through quantised latents the network learns slowly, because a change is not seen until a latent crosses into the
    cell of another code. So the discrete variant trains on its continuous output first, held near the codes.

    Args:
        quantize_from: step from which the discrete variant is quantised, with a straight-through gradient.
    """

    model: ExperimentStage2

    def __init__(self, model: ExperimentStage2, loss: PaintingLoss, *, quantize_from: int) -> None:
        super().__init__(model)
        self.loss = loss
        self.quantize_from = quantize_from
        model.requires_grad_(False)
        model.model_x2y.requires_grad_(True)
        self.window = CodeWindow(model.quantize_dec.n_e) if model.variant == "discrete" else None

    def forward(self, batch: PairBatch, step: int) -> ObjectiveOutput:
        with torch.no_grad():
            content, style = self.model.content_latents(batch.content), self.model.style_latents(batch.style)
            scene, hand = self.loss.scene(batch.content), self.loss.hand(batch.style)
        output = self.model.transfer(content, style, quantize=False).z
        shown, codebook_loss = output, None
        if self.window is not None:
            indices = self.model.quantize_dec.nearest(output.detach())
            coded = self.model.quantize_dec.lookup(indices)
            self.window.add(indices)
            codebook_loss = self._codebook_loss(output, coded)
            if step >= self.quantize_from:
                shown = output + (coded - output).detach()
        total, logs = self.loss(self.model.decode(shown), scene, hand, codebook_loss)
        logs = {"total_loss": total.detach()} | logs
        return ObjectiveOutput(total, logs | (self.window.statistics() if self.window else {}))

    def _codebook_loss(self, output: Tensor, coded: Tensor) -> Tensor:
        """Squared distance of latents `(b, c, h, w)` to codes, in units of the style latents' variance; 0-d."""
        network = cast(TwinTransferModule, self.model.model_x2y)
        return ((output - coded) / network.deviation).square().mean()
