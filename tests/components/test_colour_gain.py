from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from quantart.components.colour_gain import amplify_colour


def test_amplified_colour_leaves_brightness_and_multiplies_the_colour_axes() -> None:
    torch.manual_seed(0)
    plain, amplified = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(3, 5, 3, padding=1)
    amplified.load_state_dict(plain.state_dict())
    amplify_colour(amplified, 2.0)
    for axis, factor in (((1.0, 1.0, 1.0), 1.0), ((1.0, 0.0, -1.0), 2.0), ((1.0, -2.0, 1.0), 4.0)):
        x = torch.tensor(axis).view(1, 3, 1, 1) * torch.rand(1, 1, 6, 6)
        before, after = (conv(x) - conv(torch.zeros_like(x)) for conv in (plain, amplified))
        torch.testing.assert_close(after, factor * before)
    amplified.load_state_dict(plain.state_dict())
    amplify_colour(amplified, 1.0)
    assert torch.equal(amplified.weight, plain.weight)


def test_of_pixels_that_enter_in_squares_each_is_amplified_alike() -> None:
    torch.manual_seed(0)
    plain, amplified = nn.Conv2d(12, 5, 3, padding=1), nn.Conv2d(12, 5, 3, padding=1)
    amplified.load_state_dict(plain.state_dict())
    amplify_colour(amplified, 2.0)
    for axis, factor in (((1.0, 1.0, 1.0), 1.0), ((1.0, 0.0, -1.0), 2.0), ((1.0, -2.0, 1.0), 4.0)):
        x = F.pixel_unshuffle(torch.tensor(axis).view(1, 3, 1, 1) * torch.rand(1, 1, 12, 12), 2)
        before, after = (conv(x) - conv(torch.zeros_like(x)) for conv in (plain, amplified))
        torch.testing.assert_close(after, factor * before)
