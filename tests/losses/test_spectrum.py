from __future__ import annotations

import math

import pytest
import torch

from quantart.losses.spectrum import spectrum, spectrum_loss


def waves(across: float, down: float, side: int = 96) -> torch.Tensor:
    """`(1, 3, side, side)`: a wave of this many cycles a pixel in each direction."""
    row = torch.arange(side)
    phase = 2 * math.pi * (across * row[None] + down * row[:, None])
    return phase.cos().expand(1, 3, side, side).clone()


@pytest.mark.parametrize(
    ("across", "down", "band"),
    [
        (0.07, 0.0, 0),
        (0.05, 0.05, 1),
        (0.0, 0.07, 2),
        (0.15, 0.0, 6),
        (0.0, 0.28, 14),
        (0.45, 0.0, 18),
        (0.45, 0.45, -1),
    ],
)
def test_a_wave_is_in_the_band_of_its_frequency_and_direction(across: float, down: float, band: int) -> None:
    energies = spectrum(waves(across, down))[0]
    assert energies.argmax() == (band if band >= 0 else len(energies) - 1)


def test_contrast_and_brightness_do_not_count() -> None:
    x = waves(0.1, 0.05) + 0.5 * waves(0.3, 0.2)
    torch.testing.assert_close(spectrum(0.3 * x + 0.2), spectrum(x), rtol=0, atol=0.15)


def test_blur_and_checkerboards_are_seen() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 3, 96, 96) * 2 - 1
    blurred = torch.nn.functional.avg_pool2d(x, 3, 1, 1)
    target = spectrum(x)
    assert spectrum_loss(target, target).item() == 0
    assert spectrum_loss(spectrum(blurred), target) > 1.0
    assert spectrum_loss(spectrum(x.roll(7, 3).flip(2)), target) < 0.2
    assert (spectrum(blurred + 0.2 * waves(0.5, 0.5)) - spectrum(blurred))[0, -1] > 1.0


@pytest.mark.parametrize("side", [2, 8, 33])
def test_small_and_plain_pictures_have_finite_gradients(side: int) -> None:
    x = torch.zeros(1, 3, side, side, requires_grad=True)
    spectrum(x).sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
