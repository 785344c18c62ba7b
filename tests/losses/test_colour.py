from __future__ import annotations

import pytest
import torch

from quantart.images.arrays import pixels_to_float
from quantart.losses.colour import colour_loss, from_lab, to_lab


def one_pixel(*rgb: int) -> torch.Tensor:
    return pixels_to_float(torch.tensor(rgb)).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        # ((128 / 255 + 0.055) / 1.055)^2.4 = 0.21586; 116 * 0.21586^(1/3) - 16
        ((128, 128, 128), (53.585, 0.0, 0.0)),
        # linear 2 / 255 / 12.92 = 0.000607; below the knee: 116 * (841 / 108) * 0.000607
        ((2, 2, 2), (0.5484, 0.0, 0.0)),
        # X / Xn = 0.4339, Y = 0.2126, Z / Zn = 0.01773, whose cube roots are 0.7571, 0.5968, 0.2607
        ((255, 0, 0), (53.23, 80.11, 67.22)),
        # X / Xn = 0.1899, Y = 0.0722, Z / Zn = 0.8730, whose cube roots are 0.5748, 0.4164, 0.9557
        ((0, 0, 255), (32.30, 79.20, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    torch.testing.assert_close(to_lab(one_pixel(*rgb)).flatten(), torch.tensor(lab), atol=0.02, rtol=0)


def test_colours_come_back() -> None:
    pictures = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.testing.assert_close(from_lab(to_lab(pictures)), pictures, atol=1e-4, rtol=0)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).view(8, 3, 1, 1)
    torch.testing.assert_close(from_lab(to_lab(corners)), corners, atol=1e-4, rtol=0)


def test_the_loss_is_the_difference_of_mean_colours_not_of_texture() -> None:
    red, blue = one_pixel(255, 0, 0).expand(2, 3, 8, 8), one_pixel(0, 0, 255).expand(2, 3, 8, 8)
    # (53.23 - 32.30, 80.11 - 79.20, 67.22 + 107.86)
    assert colour_loss(red, blue).item() == pytest.approx(1.7633, abs=2e-3)
    noise = 0.1 * torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    means = torch.nn.functional.avg_pool2d(noise, 4).repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert colour_loss(noise - means, torch.zeros_like(noise)).item() == pytest.approx(0.0, abs=1e-4)


@pytest.mark.parametrize("value", [-1.2, -1.0, 0.0, 1.0, 1.3])
def test_the_loss_has_a_gradient_everywhere(value: float) -> None:
    x = torch.full((1, 3, 4, 4), value, requires_grad=True)
    colour_loss(x, torch.full((1, 3, 4, 4), 0.3)).backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert (x.grad.mean() > 0) == (value > 0.3)
    same = torch.full((1, 3, 4, 4), value, requires_grad=True)
    colour_loss(same, same.detach()).backward()
    assert same.grad is not None
    assert torch.isfinite(same.grad).all()


def test_half_precision_does_not_reach_the_loss() -> None:
    draw = torch.Generator().manual_seed(0)
    x = (torch.rand(2, 3, 8, 8, generator=draw) * 2 - 1).requires_grad_()
    y = (x.detach() + 0.1 * torch.randn(2, 3, 8, 8, generator=draw)).clamp(-1, 1)
    exact = colour_loss(x, y)
    (gradient,) = torch.autograd.grad(exact, x)
    with torch.autocast("cpu", torch.bfloat16):
        half = colour_loss(x, y)
    assert half.item() == exact.item()
    assert torch.equal(torch.autograd.grad(half, x)[0], gradient)


def test_lab_is_in_full_precision_under_autocast() -> None:
    pictures = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.autocast("cpu", torch.bfloat16):
        under = to_lab(pictures)
    assert torch.equal(under, to_lab(pictures))
