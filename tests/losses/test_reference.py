from __future__ import annotations

import pytest
import torch

from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.reference import ReferenceLoss, calc_content_loss, calc_style_loss


def test_content_loss_is_the_mean_squared_difference() -> None:
    assert calc_content_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0])).item() == 4.5


def test_style_loss_compares_means_and_deviations_over_space() -> None:
    z = torch.randn(2, 3, 6, 6)
    shuffled = z.flatten(2)[:, :, torch.randperm(36)].view_as(z)
    assert calc_style_loss(z, shuffled).item() == pytest.approx(0.0, abs=1e-10)
    assert calc_style_loss(z, z + 0.5).item() == pytest.approx(0.25, rel=1e-4)
    # constant channels: deviation √1e-5 in place of 0, by which the gradient stays finite
    constant = torch.zeros(1, 1, 2, 2, requires_grad=True)
    two_valued = torch.tensor([-1.0, 1.0, -1.0, 1.0]).view(1, 1, 2, 2)
    loss = calc_style_loss(constant, two_valued)
    assert loss.item() == pytest.approx(((4 / 3 + 1e-5) ** 0.5 - 1e-5**0.5) ** 2, rel=1e-5)
    loss.backward()
    assert constant.grad.isfinite().all()


def test_style_may_have_another_size() -> None:
    assert calc_style_loss(torch.ones(1, 2, 4, 4), torch.ones(1, 2, 3, 7)).item() == 0.0


def test_without_adversary_the_discriminator_is_not_asked() -> None:
    loss = ReferenceLoss(NLayerDiscriminator(4, 4, 0), discriminator_start=100)
    output = torch.randn(2, 4, 8, 8)
    _, logs = loss.generator(output, output, output, torch.tensor(0.0), step=0, adversarial=False)
    assert set(logs) == {"total_loss", "content_loss", "style_loss", "codebook_loss"}
    assert loss.discriminator.main[3].num_batches_tracked.item() == 0


def test_the_total_is_the_weighted_sum() -> None:
    torch.manual_seed(0)
    output, content, style = (torch.randn(2, 4, 8, 8) for _ in range(3))
    discriminator = NLayerDiscriminator(4, 4, 0).eval()
    loss = ReferenceLoss(
        discriminator, content_weight=2.0, style_weight=3.0, codebook_weight=5.0, adversarial_weight=0.5
    )
    total, logs = loss.generator(output, content, style, torch.tensor(0.7), step=0, adversarial=True)
    latent = 2.0 * logs["content_loss"] + 3.0 * logs["style_loss"] + 5.0 * 0.7
    assert total.item() == pytest.approx((latent + 0.5 * logs["adversarial_loss"]).item(), rel=1e-5)
