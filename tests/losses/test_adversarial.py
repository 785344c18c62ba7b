from __future__ import annotations

import math

import pytest
import torch

from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.adversarial import AdversarialLoss, adaptive_weight, hinge_loss, vanilla_loss


def test_hinge_loss_by_hand() -> None:
    real, fake = torch.tensor([2.0, 0.5]), torch.tensor([-3.0, 1.0])
    assert hinge_loss(real, fake).item() == pytest.approx(0.5 * (0.25 + 1.0))


def test_vanilla_loss_by_hand() -> None:
    real, fake = torch.tensor([0.0]), torch.tensor([1.0])
    assert vanilla_loss(real, fake).item() == pytest.approx(0.5 * (math.log(2.0) + math.log(1.0 + math.e)))


def test_adaptive_weight_is_the_ratio_of_the_gradients_norms() -> None:
    w = torch.tensor([1.0, 2.0], requires_grad=True)
    nll, g = (w * torch.tensor([3.0, 4.0])).sum(), (0.5 * w).sum()
    weight = adaptive_weight(nll, g, w)
    assert weight.item() == pytest.approx(5.0 / (0.5 * math.sqrt(2.0) + 1e-4))
    assert not weight.requires_grad
    assert adaptive_weight(nll * 1e6, g, w).item() == 1e4
    (nll + g).backward()  # the graph is still there


@pytest.mark.parametrize("kind", ["hinge", "vanilla"])
def test_discriminator_loss_counts_from_its_start_and_gives_no_gradient_to_the_fake(kind: str) -> None:
    loss = AdversarialLoss(NLayerDiscriminator(3, 4, 1), 5, 0.8, kind)
    real, fake = torch.randn(2, 3, 16, 16), torch.randn(2, 3, 16, 16, requires_grad=True)
    before, _ = loss.discriminator_loss(real, fake, step=4)
    value, logs = loss.discriminator_loss(real, fake, step=5)
    value.backward()
    assert before.item() == 0.0
    expected = 0.8 * {"hinge": hinge_loss, "vanilla": vanilla_loss}[kind](loss.judge(real), loss.judge(fake))
    assert value.item() == pytest.approx(expected.item(), rel=1e-4)
    assert fake.grad is None
    assert set(logs) == {"discriminator_loss", "discriminator_weight", "logits_real", "logits_fake"}
    assert not any(log.requires_grad for log in logs.values())


def test_without_a_discriminator_nothing_is_judged() -> None:
    loss = AdversarialLoss(None, 0, 1.0, "hinge")
    assert not loss.switched_on(10)
    with pytest.raises(RuntimeError, match="without a discriminator"):
        loss.judge(torch.zeros(1, 3, 8, 8))
