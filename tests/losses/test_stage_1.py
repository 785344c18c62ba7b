from __future__ import annotations

import pytest
import torch
from torch import nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.adversarial import adaptive_weight
from quantart.losses.colour import colour_loss
from quantart.losses.lpips import LPIPS
from quantart.losses.spectrum import spectrum, spectrum_loss
from quantart.losses.stage_1 import Stage1Loss, texture_loss
from quantart.losses.statistics import channels, relative_distance


def test_without_adversary_it_is_reconstruction_perception_and_codebook() -> None:
    perceptual = LPIPS()
    loss = Stage1Loss(None, perceptual, perceptual_weight=0.1, codebook_weight=2.0)
    x, y = torch.rand(2, 3, 48, 48) * 2 - 1, torch.rand(2, 3, 48, 48) * 2 - 1
    total, logs = loss.generator(x, y, torch.tensor(0.5), torch.zeros(1), step=0, adversarial=False)
    rec, p = (x - y).abs().mean(), perceptual(x, y).mean()
    assert total.item() == pytest.approx((rec + 0.1 * p + 1.0).item(), rel=1e-5)
    assert logs["reconstruction_loss"].item() == pytest.approx(rec.item())
    assert logs["perceptual_loss"].item() == pytest.approx(p.item(), rel=1e-5)
    assert set(logs) == {"total_loss", "nll_loss", "reconstruction_loss", "perceptual_loss", "codebook_loss"}


def test_the_colour_loss_is_part_of_what_the_adversary_is_weighed_against() -> None:
    loss = Stage1Loss(None, None, colour_weight=3.0)
    x, y = torch.rand(2, 3, 16, 16) * 2 - 1, torch.rand(2, 3, 16, 16) * 2 - 1
    total, logs = loss.generator(x, y, torch.tensor(0.5), torch.zeros(1), step=0, adversarial=False)
    assert logs["colour_loss"].item() == pytest.approx(colour_loss(y, x).item())
    assert logs["nll_loss"].item() == pytest.approx(((x - y).abs().mean() + 3.0 * colour_loss(y, x)).item(), rel=1e-5)
    assert total.item() == pytest.approx(logs["nll_loss"].item() + 0.5, rel=1e-5)


def test_the_spectrum_has_a_weight() -> None:
    loss = Stage1Loss(None, None, spectrum_weight=2.0)
    x, y = torch.rand(2, 3, 32, 32) * 2 - 1, torch.rand(2, 3, 32, 32) - 0.5
    total, logs = loss.generator(x, y, torch.tensor(0.5), torch.zeros(1), step=0, adversarial=False)
    expected = (x - y).abs().mean() + 2.0 * spectrum_loss(spectrum(y), spectrum(x)) + 0.5
    assert total.item() == pytest.approx(expected.item(), rel=1e-5)
    assert logs["spectrum_loss"].item() > 0


def test_adversary_is_weighted_by_the_gradients_at_the_last_layer() -> None:
    torch.manual_seed(0)
    discriminator = NLayerDiscriminator(3, 4, 1)
    loss = Stage1Loss(discriminator, None, discriminator_start=3, adversarial_weight=0.8)
    last = nn.Conv2d(3, 3, 1)
    x, y = torch.rand(2, 3, 16, 16), last(torch.rand(2, 3, 16, 16))
    total, logs = loss.generator(x, y, torch.tensor(0.0), last.weight, step=3, adversarial=True)
    nll, g = (x - y).abs().mean(), -discriminator(y).mean()
    weight = 0.8 * adaptive_weight(nll, g, last.weight)
    assert logs["adversarial_weight"].item() == pytest.approx(weight.item(), rel=1e-3)
    assert total.item() == pytest.approx((nll + weight * g).item(), rel=1e-3)
    early, logs = loss.generator(x, y, torch.tensor(0.0), last.weight, step=2, adversarial=True)
    assert early.item() == pytest.approx(nll.item())
    assert logs["adversarial_weight"].item() == pytest.approx(weight.item(), rel=1e-3)


def test_pixels_and_texture_have_weights_and_the_network_a_first_step() -> None:
    perceptual = LPIPS()
    loss = Stage1Loss(None, perceptual, l1_weight=3.0, perceptual_weight=0.06, texture_weight=0.15, perceptual_from=5)
    torch.manual_seed(0)
    x, y = torch.rand(2, 3, 48, 48) * 2 - 1, torch.rand(2, 3, 48, 48) * 2 - 1
    early, logs = loss.generator(x, y, torch.tensor(0.0), torch.zeros(1), step=4, adversarial=False)
    difference = (x - y).abs().mean().item()
    assert early.item() == pytest.approx(3.0 * difference, rel=1e-5)
    assert logs["perceptual_loss"].item() == 0.0
    assert "texture_loss" not in logs
    late, logs = loss.generator(x, y, torch.tensor(0.0), torch.zeros(1), step=5, adversarial=False)
    layers = zip(perceptual.features(x)[:4], perceptual.features(y)[:4], strict=True)
    correlations = [[channels(layer).correlations for layer in both] for both in layers]
    texture = torch.stack([relative_distance([b], [a]) for a, b in correlations]).mean().item()
    assert logs["texture_loss"].item() == pytest.approx(texture, rel=1e-4)
    assert late.item() == pytest.approx(
        3.0 * difference + 0.06 * perceptual(x, y).mean().item() + 0.15 * texture, rel=1e-5
    )


def test_texture_is_computed_in_float32_under_autocast() -> None:
    features = [torch.randn(1, 8, 16, 16).bfloat16() for _ in range(4)]
    targets = [torch.randn(1, 8, 16, 16).bfloat16() for _ in range(4)]
    with torch.autocast("cpu", torch.bfloat16):
        found = texture_loss(features, targets)
    assert found.dtype == torch.float32
    expected = texture_loss([f.float() for f in features], [t.float() for t in targets])
    torch.testing.assert_close(found, expected)
