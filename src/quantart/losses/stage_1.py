"""Loss of stage 1: pixels, perceptual distance, texture, colour, codebook and adversary (Esser et al., CVPR 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.precision import full_precision
from quantart.losses.adversarial import AdversarialLoss, Kind, adaptive_weight
from quantart.losses.colour import colour_loss
from quantart.losses.logs import Logs, detached
from quantart.losses.lpips import LPIPS
from quantart.losses.spectrum import spectrum, spectrum_loss
from quantart.losses.statistics import channels, relative_distance

TEXTURE_LAYERS = 4
"""The first layers show strokes, the later ones things. As many as stage 2's `painting.LAYERS`, but chosen apart."""


class Stage1Loss(AdversarialLoss):
    """nll + codebook_weight · codebook + λ · adversarial_weight · g, the last from step `discriminator_start` on.

    nll = mean(l1_weight · |x − x̂| + perceptual_weight · p(x, x̂)) + texture_weight · t(x, x̂) + colour_weight · colour(x,
    x̂) + spectrum_weight · s(x, x̂), g = −mean(D(x̂)) and λ the adaptive weight. Texture, colour and spectrum are not in
    the paper.

    Args:
        perceptual: the distance p, on whose network's first layers t is the `relative_distance` of the `correlations`;
            None leaves both out.
        perceptual_from: first step with p and t.
        colour_weight: of `colour_loss`.
        spectrum_weight: of `spectrum_loss`.
        discriminator_weight, kind: of the discriminator's own loss, see `AdversarialLoss`.
    """

    def __init__(
        self,
        discriminator: NLayerDiscriminator | None,
        perceptual: LPIPS | None,
        *,
        l1_weight: float = 1.0,
        perceptual_weight: float = 1.0,
        texture_weight: float = 0.0,
        perceptual_from: int = 0,
        colour_weight: float = 0.0,
        spectrum_weight: float = 0.0,
        codebook_weight: float = 1.0,
        adversarial_weight: float = 0.8,
        discriminator_start: int = 0,
        discriminator_weight: float = 1.0,
        kind: Kind = "hinge",
    ) -> None:
        super().__init__(discriminator, discriminator_start, discriminator_weight, kind)
        self.perceptual = perceptual
        self.l1_weight = l1_weight
        self.perceptual_weight = perceptual_weight
        self.texture_weight = texture_weight
        self.perceptual_from = perceptual_from
        self.colour_weight = colour_weight
        self.spectrum_weight = spectrum_weight
        self.codebook_weight = codebook_weight
        self.adversarial_weight = adversarial_weight

    def generator(
        self, x: Tensor, reconstruction: Tensor, codebook_loss: Tensor, last_layer: Tensor, step: int, adversarial: bool
    ) -> tuple[Tensor, Logs]:
        """Loss of encoder and decoder, and what to log.

        Args:
            x, reconstruction: `(b, 3, h, w)` in [-1, 1].
            codebook_loss: 0-d.
            last_layer: the decoder's last weights, for the adaptive weight.
            adversarial: use the discriminator; False saves its pass before it is switched on.
        """
        x, reconstruction = full_precision(x), full_precision(reconstruction)
        difference = (x - reconstruction).abs().mean()
        nll = self.l1_weight * difference
        logs = {"reconstruction_loss": difference, "perceptual_loss": x.new_zeros(())}
        if self.perceptual is not None and step >= self.perceptual_from:
            with torch.no_grad():
                targets = self.perceptual.features(x)
            features = self.perceptual.features(reconstruction)
            logs["perceptual_loss"] = self.perceptual.distance(targets, features).mean()
            nll = nll + self.perceptual_weight * logs["perceptual_loss"]
            if self.texture_weight:
                logs["texture_loss"] = texture_loss(features, targets)
                nll = nll + self.texture_weight * logs["texture_loss"]
        if self.colour_weight:
            logs["colour_loss"] = colour_loss(reconstruction, x)
            nll = nll + self.colour_weight * logs["colour_loss"]
        if self.spectrum_weight:
            logs["spectrum_loss"] = spectrum_loss(spectrum(reconstruction), spectrum(x))
            nll = nll + self.spectrum_weight * logs["spectrum_loss"]
        total = nll + self.codebook_weight * codebook_loss
        logs |= {"nll_loss": nll, "codebook_loss": codebook_loss}
        if adversarial:
            g = -self.judge(reconstruction).mean()
            weight = self.adversarial_weight * adaptive_weight(nll, g, last_layer)
            total = total + self.switched_on(step) * weight * g
            logs |= {"adversarial_loss": g, "adversarial_weight": weight}
        return total, detached({"total_loss": total, **logs})


def texture_loss(features: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Mean `relative_distance` of the `correlations` of `LPIPS.features`' first layers, in float32; 0-d."""
    with torch.autocast(features[0].device.type, enabled=False):
        ours, theirs = (
            [channels(full_precision(f)).correlations for f in layers[:TEXTURE_LAYERS]]
            for layers in (features, targets)
        )
        return relative_distance(ours, theirs, least=1.0).mean()
