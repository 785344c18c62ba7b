"""Training objective of stage 1, the VQGAN."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from quantart.components.codebook import CodeWindow, EmaCodebook, KMeansCodebook
from quantart.components.quantizer import Quantized
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.training.objective import AdversarialObjective, ObjectiveOutput


class Stage1Objective(AdversarialObjective):
    """Batches are pictures `(b, 3, h, w)` in [-1, 1].

    Args:
        quantize_from: the step from which latents are quantised, with a codebook initialised by k-means at this step;
            earlier steps decode the latents as they are. 0: quantise from the start, with the codebook as given.
        decoder_from: the step from which the decoder alone is trained; encoder and codebook stay. None: never.
        codebook: initialises the codes by k-means. An `EmaCodebook` also updates them by moving averages; with another
            the codebook loss updates them. May be None where `quantize_from` is 0.
    """

    model: ExperimentStage1
    loss: Stage1Loss

    def __init__(
        self,
        model: ExperimentStage1,
        loss: Stage1Loss,
        *,
        quantize_from: int = 0,
        decoder_from: int | None = None,
        codebook: KMeansCodebook | None = None,
        reference_order: bool = False,
        learning_rate_factor: float = 1.0,
    ) -> None:
        super().__init__(model, loss, reference_order=reference_order, learning_rate_factor=learning_rate_factor)
        self.quantize_from = quantize_from
        self.decoder_from = math.inf if decoder_from is None else decoder_from
        if codebook is None and quantize_from > 0:
            raise ValueError(f"quantize_from {quantize_from} needs a codebook that initialises the codes")
        self.codebook = codebook
        self.window = CodeWindow(model.quantize.n_e)

    def _generator(self, x: Tensor, step: int) -> ObjectiveOutput:
        decoder_alone = step >= self.decoder_from
        quantized: Quantized | None = None
        with torch.set_grad_enabled(torch.is_grad_enabled() and not decoder_alone):
            z = self.model.latents(x)
            if step >= self.quantize_from:
                if self.codebook is not None and step == self.quantize_from > 0:
                    self.codebook.initialise()
                quantized = self.model.quantize(z)
        reconstruction = self.model.decode(z if quantized is None else quantized.z_q)
        self._keep_fake(reconstruction)
        total, logs = self.loss.generator(
            x,
            reconstruction,
            z.new_zeros(()) if quantized is None else quantized.loss,
            last_layer=self.model.decoder.conv_out.weight,
            step=step,
            adversarial=self.discriminator_runs(step),
        )
        learns = self.training and not decoder_alone
        if learns and self.codebook is not None:
            self.codebook.observe(z, step)
        if quantized is not None:
            self.window.add(quantized.indices)
            logs |= self.window.statistics()
            if learns and isinstance(self.codebook, EmaCodebook):
                logs["revived"] = self.codebook.update(z, quantized.indices, step)
        return ObjectiveOutput(total, logs)

    def _discriminator(self, x: Tensor, step: int) -> ObjectiveOutput:
        if self.reference_order:
            with torch.no_grad():
                z = self.model.latents(x)
                fake = self.model.decode(z if step < self.quantize_from else self.model.quantize(z).z_q)
        else:
            fake = self._kept_fake()
        return ObjectiveOutput(*self.loss.discriminator_loss(x, fake, step))
