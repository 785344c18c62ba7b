"""How strongly a new encoder responds to colour (not in the paper)."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def amplify_colour(conv: nn.Conv2d, gain: float) -> None:
    """Multiply a convolution's response to the red-blue axis by `gain` and to the green-magenta axis by `gain²`.

    The response to brightness stays. These axes are close to the principal axes of the colours of natural pictures,
    whose standard deviations fall by about such a factor from one to the next (Ohta et al., 1980).

    Args:
        conv: takes pictures `(b, 3, h, w)`, or `(b, 3·p², h / p, w / p)` as `pixel_unshuffle` makes them.
    """
    if gain == 1.0:
        return
    axes = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]], device=conv.weight.device)
    axes /= axes.norm(dim=1, keepdim=True)
    gains = torch.tensor([1.0, gain, gain**2], device=conv.weight.device)
    weight = conv.weight.unflatten(1, (3, -1))  # (out, 3, p², k, k)
    conv.weight.copy_(torch.einsum("oipkl,ij->ojpkl", weight, axes.T * gains @ axes).flatten(1, 2))
