"""What is measured: pure functions of tensors, one value for each picture of a batch.

Distances are 0 for equal inputs and smaller is better. Those on feature maps and on Gram matrices are relative to the
style picture, so that layers and pictures of different contrast weigh alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.image import peak_signal_noise_ratio
from torchmetrics.image.fid import FrechetInceptionDistance

from quantart.losses.stage_2 import calc_content_loss, calc_style_loss


def psnr(pictures: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `(b,)`, of pictures `(b, 3, h, w)` clamped to [-1, 1]; larger is better."""
    return peak_signal_noise_ratio(pictures, targets, data_range=(-1.0, 1.0), reduction="none", dim=(1, 2, 3))


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


def colour_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference of the channels' means and standard deviations, `(b,)`, of `colour_statistics`.

    1 is the whole way from black to white.
    """
    return (outputs - targets).abs().mean(1)


def colour_statistics(pictures: Tensor) -> Tensor:
    """Means and standard deviations of sRGB in [0, 1]: pictures `(b, 3, h, w)` in [-1, 1] → `(b, 6)`."""
    return moments((pictures + 1) / 2)


def latent_content(latents: Tensor, content: Tensor) -> Tensor:
    """Stage 2's content loss for each picture: `(b, c, h, w)`, twice → `(b,)`."""
    return torch.stack([calc_content_loss(z[None], z_c[None]) for z, z_c in zip(latents, content, strict=True)])


def latent_style(latents: Tensor, style: Tensor) -> Tensor:
    """Stage 2's style loss for each picture: `(b, c, h, w)`, twice → `(b,)`."""
    return torch.stack([calc_style_loss(z[None], z_s[None]) for z, z_s in zip(latents, style, strict=True)])


class _AsIs(torch.nn.Identity):
    """Stands where torchmetrics expects a network: the features are already there."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.num_features = width


def frechet_distance(outputs: Tensor, references: Tensor) -> float:
    """Fréchet distance between two sets of feature vectors `(n, d)` and `(m, d)`, n and m at least 2, in float64.

    It depends on the network and, for fewer pictures than `d`, strongly on their number: compare only equal numbers.
    """
    distance = FrechetInceptionDistance(feature=_AsIs(outputs.shape[1])).set_dtype(torch.float64)
    distance.update(references.double(), real=True)
    distance.update(outputs.double(), real=False)
    return max(float(distance.compute()), 0.0)
