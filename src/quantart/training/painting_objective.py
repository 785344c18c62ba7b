"""`stage2.objective: painting`: the training of stage 2 on decoded pictures, by a network that paints."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from quantart.components.codebook import CodeWindow
from quantart.components.twin_transfer import TwinTransferModule
from quantart.data.batches import PairBatch
from quantart.losses.logs import detached
from quantart.losses.painting import PaintingLoss
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.objective import Objective, ObjectiveOutput


class PaintingObjective(Objective):
    """Trains `model.model_x2y` alone; the rest of the model is frozen here.

    Through quantised latents the network learns slowly, because a change is not seen until a latent crosses into the
    cell of another code. So the discrete variant trains on its continuous output first, held near the codes.

    Args:
        codebook_weight: of the squared distance to the nearest code, in units of the style latents' squared deviation.
        quantize_from: step from which the discrete variant is quantised, with a straight-through gradient.
    """

    model: ExperimentStage2

    def __init__(
        self, model: ExperimentStage2, loss: PaintingLoss, *, codebook_weight: float, quantize_from: int
    ) -> None:
        super().__init__(model)
        self.loss = loss
        self.codebook_weight = codebook_weight
        self.quantize_from = quantize_from
        model.requires_grad_(False)
        model.model_x2y.requires_grad_(True)
        self.window = CodeWindow(model.quantize_dec.n_e) if model.variant == "discrete" else None

    def forward(self, batch: PairBatch, step: int) -> ObjectiveOutput:
        with torch.no_grad():
            content, style = self.model.content_latents(batch.content), self.model.style_latents(batch.style)
            scene, hand = self.loss.scene(batch.content), self.loss.hand(batch.style)
        output = self.model.transfer(content, style, quantize=False).z
        coded, logs = self._coded(output)
        shown = output + (coded - output).detach() if step >= self.quantize_from else output
        total, painted = self.loss(self.model.decode(shown), scene, hand)
        if "codebook_loss" in logs:
            total = total + self.codebook_weight * logs["codebook_loss"]
        logs = {"total_loss": total} | painted | logs
        return ObjectiveOutput(total, detached(logs))

    def _coded(self, output: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The nearest codes of latents `(b, c, h, w)`, and what to log of them; without codebook the latents."""
        if self.window is None:
            return output, {}
        indices = self.model.quantize_dec.nearest(output.detach())
        coded = self.model.quantize_dec.lookup(indices)
        self.window.add(indices)
        network = cast(TwinTransferModule, self.model.model_x2y)
        apart = (output - coded) / network.deviation
        return coded, {"codebook_loss": apart.square().mean(), **self.window.statistics()}
