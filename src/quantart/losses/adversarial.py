"""The adversarial loss that both stages share."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.distributed import all_sum, world_size
from quantart.components.precision import full_precision
from quantart.losses.logs import Logs, detached

Kind = Literal["hinge", "vanilla"]


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½ (mean relu(1 − real) + mean relu(1 + fake)) of logits of any shape."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


def vanilla_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½ (mean softplus(−real) + mean softplus(fake)) of logits of any shape: the cross-entropy of Goodfellow et al."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


DISCRIMINATOR_LOSSES = {"hinge": hinge_loss, "vanilla": vanilla_loss}


def adaptive_weight(nll: Tensor, adversarial: Tensor, last_layer: Tensor) -> Tensor:
    """‖∂nll/∂w‖ / (‖∂g/∂w‖ + 1e-4), at most 1e4, at the decoder's last weights w (Esser et al. 2021, equation 7).

    With several processes it is the weight of the joint batch. 0-d, detached.
    """
    nll_norm, g_norm = (_joint_gradient(loss, last_layer).norm() for loss in (nll, adversarial))
    return (nll_norm / (g_norm + 1e-4)).clamp(0.0, 1e4)


def _joint_gradient(loss: Tensor, weight: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    return all_sum(gradient) / world_size()


class AdversarialLoss(nn.Module):
    """Owns a discriminator D and its loss. The generator's adversarial loss is −mean(D(output)).

    Args:
        discriminator: None leaves the adversarial part out.
        discriminator_start: the first step at which the adversarial losses count.
        discriminator_weight: of the discriminator's loss.
        kind: of the discriminator's loss.
    """

    def __init__(
        self,
        discriminator: NLayerDiscriminator | None,
        discriminator_start: int,
        discriminator_weight: float,
        kind: Kind,
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.discriminator_start = discriminator_start
        self.discriminator_weight = discriminator_weight
        self._discriminator_loss = DISCRIMINATOR_LOSSES[kind]

    def switched_on(self, step: int) -> bool:
        """Whether the adversarial losses count at this step."""
        return self.discriminator is not None and step >= self.discriminator_start

    def judge(self, x: Tensor) -> Tensor:
        """The discriminator's logits, in full precision."""
        if self.discriminator is None:
            raise RuntimeError("this loss was made without a discriminator")
        return full_precision(self.discriminator(x))

    def discriminator_loss(self, real: Tensor, fake: Tensor, step: int) -> tuple[Tensor, Logs]:
        """Loss of the discriminator on real and fake inputs `(b, c, h, w)`, and what to log."""
        logits_real, logits_fake = self.judge(real.detach()), self.judge(fake.detach())
        weight = self.discriminator_weight * self.switched_on(step)
        loss = weight * self._discriminator_loss(logits_real, logits_fake)
        logs = {"discriminator_loss": loss, "discriminator_weight": loss.new_full((), weight)}
        return loss, detached(logs | {"logits_real": logits_real.mean(), "logits_fake": logits_fake.mean()})
