"""Training objective of stage 2, the style transfer network."""

from __future__ import annotations

import torch
from torch import Tensor

from quantart.components.codebook import CodeWindow
from quantart.data.batches import CodeBatch
from quantart.losses.decoded import DecodedLoss
from quantart.losses.stage_2 import Stage2Loss
from quantart.models.stage_2 import ExperimentStage2, Transferred
from quantart.training.objective import AdversarialObjective, PhaseOutput


class Stage2Objective(AdversarialObjective):
    """Trains `model.model_x2y` and the discriminator alone; the rest of the model is frozen here.

    Args:
        decoded: additional losses of the decoded pictures; None: losses of the latents alone, as published.
    """

    model: ExperimentStage2
    loss: Stage2Loss

    def __init__(
        self,
        model: ExperimentStage2,
        loss: Stage2Loss,
        *,
        reference_order: bool = False,
        decoded: DecodedLoss | None = None,
    ) -> None:
        super().__init__(model, loss, reference_order)
        self.decoded = decoded
        model.requires_grad_(False)
        model.model_x2y.requires_grad_(True)
        self.window = CodeWindow(model.quantize_dec.n_e) if model.variant == "discrete" else None

    def _generator(self, batch: CodeBatch, step: int) -> PhaseOutput:
        content, style = self._latents(batch)
        output: Transferred = self.model.transfer(content, style)
        self._keep_fake(output.z)
        total, logs = self.loss.generator(
            output.z, content, style, output.loss, step, adversarial=self.discriminator_runs(step)
        )
        if self.decoded is not None:
            with torch.no_grad():
                style_features = self.decoded.targets(self.model.decode(style))
                perceptual = self.decoded.perceptual_weight
                content_features = self.decoded.targets(self.model.decode(content)) if perceptual else None
            picture = self.model.decode(output.z)
            seen, seen_logs = self.decoded(picture, content_features, style_features, batch.painting)
            total, logs = total + seen, logs | seen_logs | {"total_loss": (total + seen).detach()}
        if self.window is not None and output.indices is not None:
            self.window.add(output.indices)
            logs |= self.window.statistics()
        return PhaseOutput(total, logs)

    def _discriminator(self, batch: CodeBatch, step: int) -> PhaseOutput:
        content, style = self._latents(batch)
        if self.reference_order:
            with torch.no_grad():
                fake = self.model.transfer(content, style).z
        else:
            fake = self._kept_fake()
        return PhaseOutput(*self.loss.discriminator_loss(style, fake, step))

    def _latents(self, batch: CodeBatch) -> tuple[Tensor, Tensor]:
        if self.model.variant == "continuous":
            return batch.content, batch.style
        return self.model.quantize_enc.lookup(batch.content), self.model.quantize_dec.lookup(batch.style)
