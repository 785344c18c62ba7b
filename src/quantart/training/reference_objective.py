"""`stage2.objective: reference`: the training of stage 2 as published, on latents."""

from __future__ import annotations

import torch
from torch import Tensor

from quantart.components.codebook import CodeWindow
from quantart.data.batches import CodeBatch
from quantart.losses.reference import ReferenceLoss
from quantart.models.stage_2 import ExperimentStage2, Transferred
from quantart.training.objective import AdversarialObjective, ObjectiveOutput


class ReferenceObjective(AdversarialObjective):
    """Trains `model.model_x2y` and the discriminator alone, on stored codes; the rest of the model is frozen here."""

    model: ExperimentStage2
    loss: ReferenceLoss

    def __init__(
        self,
        model: ExperimentStage2,
        loss: ReferenceLoss,
        *,
        reference_order: bool = False,
        learning_rate_factor: float = 1.0,
    ) -> None:
        super().__init__(model, loss, reference_order=reference_order, learning_rate_factor=learning_rate_factor)
        model.requires_grad_(False)
        model.model_x2y.requires_grad_(True)
        self.window = CodeWindow(model.quantize_dec.n_e) if model.variant == "discrete" else None

    def _generator(self, batch: CodeBatch, step: int) -> ObjectiveOutput:
        content, style = self._latents(batch)
        output: Transferred = self.model.transfer(content, style)
        self._keep_fake(output.z)
        total, logs = self.loss.generator(
            output.z, content, style, output.loss, step, adversarial=self.discriminator_runs(step)
        )
        if self.window is not None and output.indices is not None:
            self.window.add(output.indices)
            logs |= self.window.statistics()
        return ObjectiveOutput(total, logs)

    def _discriminator(self, batch: CodeBatch, step: int) -> ObjectiveOutput:
        content, style = self._latents(batch)
        if self.reference_order:
            with torch.no_grad():
                fake = self.model.transfer(content, style).z
        else:
            fake = self._kept_fake()
        return ObjectiveOutput(*self.loss.discriminator_loss(style, fake, step))

    def _latents(self, batch: CodeBatch) -> tuple[Tensor, Tensor]:
        if self.model.variant == "continuous":
            return batch.content, batch.style
        return self.model.quantize_enc.lookup(batch.content), self.model.quantize_dec.lookup(batch.style)
