"""Statistics of feature maps that stand for a style, and how far those of one picture are from another's."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """Means over space of the products of channels: `(b, c, h, w)` → `(b, c, c)` (Gatys et al., CVPR 2016)."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


def moments(features: Tensor) -> Tensor:
    """Channel means, then standard deviations, over space: `(b, c, h, w)` → `(b, 2c)`."""
    flat = features.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], dim=1)


def relative_distance(outputs: Sequence[Tensor], targets: Sequence[Tensor]) -> Tensor:
    """Mean over layers of ‖output − target‖ / ‖target‖, `(b,)`; each layer is a `(b, …)` tensor of statistics.

    On Gram matrices this is the Gram distance (Frobenius norm), on moments the mean/std distance.
    """
    layers = [
        (output - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1).clamp_min(1e-12)
        for output, target in zip(outputs, targets, strict=True)
    ]
    return torch.stack(layers).mean(0)
