"""Loss of stage 1: reconstruction, perceptual distance, colour, codebook and adversary (Esser et al., CVPR 2021)."""

from __future__ import annotations

from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.precision import full_precision
from quantart.losses.adversarial import AdversarialLoss, Kind, Logs, adaptive_weight, detached
from quantart.losses.colour import colour_loss
from quantart.losses.lpips import LPIPS


class Stage1Loss(AdversarialLoss):
    """nll + λ · disc_weight · disc_factor · g + codebook_weight · codebook.

    nll = mean(|x − x̂| + perceptual_weight · p(x, x̂)) + colour_weight · colour(x, x̂), g = −mean(D(x̂)) and λ the adaptive
    weight.

    Args:
        perceptual: the distance p; None leaves it out.
        colour_weight: of `colour_loss` (not in the paper).
        disc_weight: factor of the adaptive weight.
        discriminator, disc_start, disc_factor, disc_loss: see `AdversarialLoss`.
    """

    def __init__(
        self,
        discriminator: NLayerDiscriminator | None,
        perceptual: LPIPS | None,
        *,
        perceptual_weight: float = 1.0,
        colour_weight: float = 0.0,
        codebook_weight: float = 1.0,
        disc_start: int = 0,
        disc_weight: float = 0.8,
        disc_factor: float = 1.0,
        disc_loss: Kind = "hinge",
    ) -> None:
        super().__init__(discriminator, disc_start, disc_factor, disc_loss)
        self.perceptual = perceptual
        self.perceptual_weight = perceptual_weight
        self.colour_weight = colour_weight
        self.codebook_weight = codebook_weight
        self.disc_weight = disc_weight

    def generator(
        self, x: Tensor, reconstruction: Tensor, codebook_loss: Tensor, last_layer: Tensor, step: int, adversarial: bool
    ) -> tuple[Tensor, Logs]:
        """Loss of encoder and decoder, and what to log.

        Args:
            x, reconstruction: `(b, 3, h, w)` in [-1, 1].
            codebook_loss: 0-d.
            last_layer: the decoder's last weights, for the adaptive weight.
            adversarial: use the discriminator; False saves its pass when its factor is 0.
        """
        x, reconstruction = full_precision(x), full_precision(reconstruction)
        rec_loss = (x - reconstruction).abs().mean()
        p_loss = rec_loss.new_zeros(()) if self.perceptual is None else self.perceptual(x, reconstruction).mean()
        nll = rec_loss + self.perceptual_weight * p_loss
        logs = {}
        if self.colour_weight:
            logs["colour_loss"] = colour_loss(reconstruction, x)
            nll = nll + self.colour_weight * logs["colour_loss"]
        total = nll + self.codebook_weight * codebook_loss
        logs |= {"nll_loss": nll, "rec_loss": rec_loss, "p_loss": p_loss, "quant_loss": codebook_loss}
        if adversarial:
            g_loss = -self.judge(reconstruction).mean()
            d_weight = self.disc_weight * adaptive_weight(nll, g_loss, last_layer)
            factor = self.factor(step)
            total = total + factor * d_weight * g_loss
            logs |= {"g_loss": g_loss, "d_weight": d_weight, "disc_factor": g_loss.new_full((), factor)}
        return total, detached({"total_loss": total, **logs})
