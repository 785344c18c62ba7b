"""Statistics of feature maps that describe a style, and distances between them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """Means over space of the products of channels: `(b, c, h, w)` → `(b, c, c)` (Gatys et al., CVPR 2016)."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def correlations(features: Tensor) -> Tensor:
    """Correlations of channels over space: `(b, c, h, w)` → `(b, c, c)`, diagonal 1 but for channels that hardly vary.

    Unlike a Gram matrix they do not tell how strong a channel is, so no tint or contrast changes them much.
    """
    return gram_matrix(standardised_channels(features))


def standardised_channels(features: Tensor) -> Tensor:
    """`(b, c, h, w)` to `(b, c, h·w)`, each channel with mean 0 and deviation 1; one that hardly varies with less."""
    flat = features.flatten(2)
    deviation, mean = torch.std_mean(flat, 2, correction=0, keepdim=True)
    least = 0.02 * deviation.mean(1, keepdim=True).detach() + 1e-6  # does not blow up a channel's noise
    return (flat - mean) / (deviation + least)


def moments(features: Tensor) -> Tensor:
    """Channel means, then standard deviations, over space: `(b, c, h, w)` → `(b, 2c)`."""
    flat = features.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], dim=1)


def relative_distance(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over layers of ‖output − target‖ / ‖target‖, `(b,)`; each layer is a `(b, …)` tensor of statistics.

    On Gram matrices it is the Gram distance (Frobenius norm), on moments the mean/std distance.
    """
    layers = [
        (output - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1).clamp_min(1e-12)
        for output, target in zip(outputs, targets, strict=True)
    ]
    return torch.stack(layers).mean(0)
