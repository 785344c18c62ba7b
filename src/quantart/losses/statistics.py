"""Statistics of feature maps that describe a style, and distances between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


def gram_matrix(features: Tensor) -> Tensor:
    """Means over space of the products of channels: `(b, c, h, w)` → `(b, c, c)` (Gatys et al., CVPR 2016)."""
    flat = features.flatten(2)
    return flat @ flat.mT / flat.shape[2]


class Channels(NamedTuple):
    """Statistics of the channels of feature maps over space."""

    mean: Tensor
    """`(b, c)`"""
    deviation: Tensor
    """`(b, c)`; 0 for a channel that does not vary, whose gradient is 0 too."""
    scale: Tensor
    """`(b, c)`: what a channel is divided by, a little more than its deviation, so that noise alone is not blown up."""
    covariance: Tensor
    """`(b, c, c)`"""

    @property
    def correlations(self) -> Tensor:
        """`(b, c, c)`, diagonal 1 but for channels that hardly vary.

        Unlike a Gram matrix they do not tell how strong a channel is, so no tint or contrast changes them much.
        """
        return self.covariance / (self.scale[:, :, None] * self.scale[:, None])

    @property
    def moments(self) -> Tensor:
        """`(b, 2c)`: means, then deviations."""
        return torch.cat([self.mean, self.deviation], dim=1)

    def standardise(self, features: Tensor) -> Tensor:
        """The feature maps `(b, c, h, w)` with mean 0 and deviation 1; a channel that hardly varies has less."""
        scale = self.scale[:, :, None, None].reciprocal()
        return torch.addcmul(-self.mean[:, :, None, None] * scale, features, scale)


def channels(features: Tensor) -> Channels:
    """Of feature maps `(b, c, h, w)` in float32: read twice, while subtracting their means would copy them.

    A variance is the difference of two means here: where it is below about 1e-6 of the squared mean, it is noise.
    """
    mean = features.mean((2, 3))
    covariance = gram_matrix(features) - mean[:, :, None] * mean[:, None]
    deviation = covariance.diagonal(dim1=1, dim2=2).clamp_min(1e-12).sqrt()
    least = 0.02 * deviation.mean(1, keepdim=True).detach() + 1e-6
    return Channels(mean, deviation, deviation + least, covariance)


def moments(features: Tensor) -> Tensor:
    """Channel means, then standard deviations, over space: `(b, c, h, w)` → `(b, 2c)`."""
    flat = features.flatten(2)
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], dim=1)


def relative_distance(outputs: Sequence[Tensor], targets: Sequence[Tensor], least: float = 1e-12) -> Tensor:
    """Mean over layers of ‖output − target‖ / ‖target‖, `(b,)`; each layer is a `(b, …)` tensor of statistics.

    On Gram matrices it is the Gram distance (Frobenius norm), on moments the mean/std distance.

    Args:
        least: what a target's norm counts as if it is smaller. Correlations take 1: their norm is about the root of the
            number of channels, but a flat picture has none, and anything is infinitely far from it.
    """
    layers = [
        (output - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1).clamp_min(least)
        for output, target in zip(outputs, targets, strict=True)
    ]
    return torch.stack(layers).mean(0)
