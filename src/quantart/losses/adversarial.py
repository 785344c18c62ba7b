"""The adversarial loss that both stages share."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.components.distributed import all_sum, world_size
from quantart.components.precision import full_precision

Kind = Literal["hinge", "vanilla"]
Logs = dict[str, Tensor]


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½ (mean relu(1 − real) + mean relu(1 + fake)) of logits of any shape."""
    return 0.5 * (F.relu(1.0 - real).mean() + F.relu(1.0 + fake).mean())


def vanilla_loss(real: Tensor, fake: Tensor) -> Tensor:
    """½ (mean softplus(−real) + mean softplus(fake)) of logits of any shape: the cross-entropy of Goodfellow et al."""
    return 0.5 * (F.softplus(-real).mean() + F.softplus(fake).mean())


DISCRIMINATOR_LOSSES = {"hinge": hinge_loss, "vanilla": vanilla_loss}


def adaptive_weight(nll: Tensor, g_loss: Tensor, last_layer: Tensor) -> Tensor:
    """‖∂nll/∂w‖ / (‖∂g/∂w‖ + 1e-4), at most 1e4, at the decoder's last weights w (Esser et al. 2021, equation 7).

    With several processes it is the weight of the joint batch. 0-d, detached.
    """
    nll_norm, g_norm = (_joint_gradient(loss, last_layer).norm() for loss in (nll, g_loss))
    return (nll_norm / (g_norm + 1e-4)).clamp(0.0, 1e4)


def _joint_gradient(loss: Tensor, weight: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(loss, weight, retain_graph=True)
    return all_sum(gradient) / world_size()


class AdversarialLoss(nn.Module):
    """Owns a discriminator and its loss.

    Args:
        discriminator: None leaves the adversarial part out.
        disc_start: first step with an adversarial loss.
        disc_factor: its factor from then on; before, it is 0.
        disc_loss: "hinge" or "vanilla".
    """

    def __init__(
        self,
        discriminator: NLayerDiscriminator | None,
        disc_start: int = 0,
        disc_factor: float = 1.0,
        disc_loss: Kind = "hinge",
    ) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.disc_start = disc_start
        self.disc_factor = disc_factor
        self._discriminator_loss = DISCRIMINATOR_LOSSES[disc_loss]

    def factor(self, step: int) -> float:
        """Factor of the adversarial loss at this step."""
        return self.disc_factor if self.discriminator is not None and step >= self.disc_start else 0.0

    def judge(self, x: Tensor) -> Tensor:
        """The discriminator's logits, in full precision."""
        if self.discriminator is None:
            raise RuntimeError("this loss was made without a discriminator")
        return full_precision(self.discriminator(x))

    def discriminator_loss(self, real: Tensor, fake: Tensor, step: int) -> tuple[Tensor, Logs]:
        """Loss of the discriminator on real and fake inputs `(b, c, h, w)`, and what to log."""
        logits_real, logits_fake = self.judge(real.detach()), self.judge(fake.detach())
        loss = self.factor(step) * self._discriminator_loss(logits_real, logits_fake)
        logs = {"disc_loss": loss, "logits_real": logits_real.mean(), "logits_fake": logits_fake.mean()}
        return loss, detached(logs)


def detached(logs: Logs) -> Logs:
    """The same tensors without their graphs."""
    return {name: value.detach() for name, value in logs.items()}
