"""Loss of stage 1: reconstruction, perceptual distance, colour, codebook and adversary (Esser et al., CVPR 2021)."""

from __future__ import annotations

from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.precision import full_precision
from quantart.losses.adversarial import AdversarialLoss, Kind, Logs, adaptive_weight, detached
from quantart.losses.colour import colour_loss
from quantart.losses.lpips import LPIPS


class Stage1Loss(AdversarialLoss):
    """nll + codebook_weight · codebook + λ · adversarial_weight · g, the last from step `discriminator_start` on.

    nll = mean(|x − x̂| + perceptual_weight · p(x, x̂)) + colour_weight · colour(x, x̂), g = −mean(D(x̂)) and λ the adaptive
    weight.

    Args:
        perceptual: the distance p; None leaves it out.
        colour_weight: of `colour_loss` (not in the paper).
        discriminator_weight, kind: of the discriminator's own loss, see `AdversarialLoss`.
    """

    def __init__(
        self,
        discriminator: NLayerDiscriminator | None,
        perceptual: LPIPS | None,
        *,
        perceptual_weight: float = 1.0,
        colour_weight: float = 0.0,
        codebook_weight: float = 1.0,
        adversarial_weight: float = 0.8,
        discriminator_start: int = 0,
        discriminator_weight: float = 1.0,
        kind: Kind = "hinge",
    ) -> None:
        super().__init__(discriminator, discriminator_start, discriminator_weight, kind)
        self.perceptual = perceptual
        self.perceptual_weight = perceptual_weight
        self.colour_weight = colour_weight
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
        perceptual = x.new_zeros(()) if self.perceptual is None else self.perceptual(x, reconstruction).mean()
        nll = difference + self.perceptual_weight * perceptual
        logs = {}
        if self.colour_weight:
            logs["colour_loss"] = colour_loss(reconstruction, x)
            nll = nll + self.colour_weight * logs["colour_loss"]
        total = nll + self.codebook_weight * codebook_loss
        logs |= {"nll_loss": nll, "reconstruction_loss": difference, "perceptual_loss": perceptual}
        logs["codebook_loss"] = codebook_loss
        if adversarial:
            g = -self.judge(reconstruction).mean()
            weight = self.adversarial_weight * adaptive_weight(nll, g, last_layer)
            total = total + self.switched_on(step) * weight * g
            logs |= {"adversarial_loss": g, "adversarial_weight": weight}
        return total, detached({"total_loss": total, **logs})
