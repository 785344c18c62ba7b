from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from quantart.components.colour_gain import amplify_colour


@pytest.mark.parametrize("patch", [1, 2])
def test_amplified_colour_leaves_brightness_and_multiplies_the_colour_axes(patch: int) -> None:
    torch.manual_seed(0)
    plain, amplified = (nn.Conv2d(3 * patch**2, 5, 3, padding=1) for _ in range(2))
    amplified.load_state_dict(plain.state_dict())
    amplify_colour(amplified, 2.0)
    for axis, factor in (((1.0, 1.0, 1.0), 1.0), ((1.0, 0.0, -1.0), 2.0), ((1.0, -2.0, 1.0), 4.0)):
        x = F.pixel_unshuffle(torch.tensor(axis).view(1, 3, 1, 1) * torch.rand(1, 1, 12, 12), patch)
        before, after = (conv(x) - conv(torch.zeros_like(x)) for conv in (plain, amplified))
        torch.testing.assert_close(after, factor * before)
    amplified.load_state_dict(plain.state_dict())
    amplify_colour(amplified, 1.0)
    assert torch.equal(amplified.weight, plain.weight)
