"""The loss of `stage2.objective: reference`, as published, on latents (Huang et al., CVPR 2023)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.precision import full_precision
from quantart.losses.adversarial import AdversarialLoss, Kind
from quantart.losses.logs import Logs, detached


def calc_content_loss(output: Tensor, content: Tensor) -> Tensor:
    """L_rec: the mean squared difference of two latents `(b, c, h, w)`; 0-d."""
    return F.mse_loss(output, content)


def calc_style_loss(output: Tensor, style: Tensor) -> Tensor:
    """L_style: mean squared differences of the channels' means and of their standard deviations over space; 0-d.

    The two latents are `(b, c, h, w)` and may differ in h and w.
    """
    (mean, std), (style_mean, style_std) = _mean_std(output), _mean_std(style)
    return F.mse_loss(mean, style_mean) + F.mse_loss(std, style_std)


def _mean_std(z: Tensor) -> tuple[Tensor, Tensor]:
    # 1e-5 keeps the gradient of the root finite where a channel is constant
    flat = z.flatten(2)  # (b, c, h·w)
    return flat.mean(2), (flat.var(2) + 1e-5).sqrt()


class ReferenceLoss(AdversarialLoss):
    """content_weight · L_rec + style_weight · L_style + codebook_weight · codebook + L_adv.

    L_adv = adversarial_weight · g with g = −mean(D(output)), from step `discriminator_start` on.

    Args:
        discriminator_weight, kind: of the discriminator's own loss, see `AdversarialLoss`.
    """

    def __init__(
        self,
        discriminator: NLayerDiscriminator | None,
        *,
        content_weight: float = 1.0,
        style_weight: float = 10.0,
        codebook_weight: float = 1.0,
        adversarial_weight: float = 0.8,
        discriminator_start: int = 0,
        discriminator_weight: float = 0.8,
        kind: Kind = "hinge",
    ) -> None:
        super().__init__(discriminator, discriminator_start, discriminator_weight, kind)
        self.content_weight = content_weight
        self.style_weight = style_weight
        self.codebook_weight = codebook_weight
        self.adversarial_weight = adversarial_weight

    def generator(
        self, output: Tensor, content: Tensor, style: Tensor, codebook_loss: Tensor, step: int, adversarial: bool
    ) -> tuple[Tensor, Logs]:
        """Loss of the style transfer network, and what to log.

        Args:
            output: of the network for `content` and `style`; all `(b, c, h, w)`.
            codebook_loss: 0-d, of the output's quantisation.
            adversarial: use the discriminator; False saves its pass before it is switched on.
        """
        output, content, style = (full_precision(z) for z in (output, content, style))
        content_loss = calc_content_loss(output, content)
        style_loss = calc_style_loss(output, style)
        total = self.content_weight * content_loss + self.style_weight * style_loss
        total = total + self.codebook_weight * codebook_loss
        logs = {"content_loss": content_loss, "style_loss": style_loss, "codebook_loss": codebook_loss}
        if adversarial:
            g = -self.judge(output).mean()
            total = total + self.switched_on(step) * self.adversarial_weight * g
            logs |= {"adversarial_loss": g, "adversarial_weight": g.new_full((), self.adversarial_weight)}
        return total, detached({"total_loss": total, **logs})
