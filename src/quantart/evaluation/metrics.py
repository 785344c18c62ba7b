"""The metrics of single pictures: pure functions of tensors, with one value for each picture of a batch.

Distances are 0 for equal inputs, and smaller is better.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from quantart.losses.colour import to_lab
from quantart.losses.statistics import moments

_CFSD_ROWS = 1024  # positions whose similarities to all others are in memory at once


def psnr(pictures: Tensor, targets: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB, `(b,)`, of pictures `(b, 3, h, w)` clamped to [-1, 1]; larger is better."""
    from torchmetrics.functional.image import peak_signal_noise_ratio  # takes seconds to import, with torch's compiler

    return peak_signal_noise_ratio(pictures, targets, data_range=(-1.0, 1.0), reduction="none", dim=(1, 2, 3))


def ssim(pictures: Tensor, targets: Tensor) -> Tensor:
    """Structural similarity, `(b,)`, at most 1, of pictures `(b, 3, h, w)` clamped to [-1, 1]; larger is better.

    With the Gaussian window of 11 pixels (σ 1.5) of Wang et al., 2004, on each channel.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    similarity = structural_similarity_index_measure(pictures, targets, data_range=(-1.0, 1.0), reduction="none")
    return cast(Tensor, similarity)  # it returns a pair of tensors only when asked for more


def delta_e(pictures: Tensor, targets: Tensor) -> Tensor:
    """Mean ΔE (CIE 1976), `(b,)`, of sRGB `(b, 3, h, w)` clamped to [-1, 1]; black and white are 100 apart."""
    return (to_lab(pictures) - to_lab(targets)).norm(dim=1).flatten(1).mean(1)


def colour_distance(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference of two `colour_statistics`, `(b,)`. Black and white have channel means 1 apart."""
    return (outputs - targets).abs().mean(1)


def colour_statistics(pictures: Tensor) -> Tensor:
    """Means and standard deviations of sRGB in [0, 1]: pictures `(b, 3, h, w)` in [-1, 1] → `(b, 6)`."""
    return moments((pictures + 1) / 2)


def cfsd(outputs: Tensor, contents: Tensor) -> Tensor:
    """Content feature structural distance between feature maps `(b, c, h, w)` of outputs and contents: `(b,)`, ≥ 0.

    As published (Chung et al., Style Injection in Diffusion, CVPR 2024): features divided by their number c, inner
    products of all positions, a softmax of each row, and the Kullback-Leibler divergence of the content's rows from the
    output's. Different from the paper, so the numbers are not comparable with it: the layer (`LPIPS.structure` of the
    network in the metric's name; there conv3_1 of VGG-19 after its activation), and the mean over rows instead of the
    sum in the authors' code, so that pictures of different sizes compare.

    Rows are processed in blocks, so memory does not grow with the square of the number of positions.
    """
    return torch.stack([_structural_distance(*maps) for maps in zip(outputs, contents, strict=True)])


def _structural_distance(output: Tensor, content: Tensor) -> Tensor:
    o, c = (features.flatten(1).mT.float() / len(features) for features in (output, content))  # (positions, channels)
    total = o.new_zeros(())
    for rows in torch.arange(len(o), device=o.device).split(_CFSD_ROWS):
        log_p, log_q = ((f[rows] @ f.mT).log_softmax(1) for f in (c, o))
        total = total + (log_p.exp() * (log_p - log_q)).sum()
    return (total / len(o)).clamp_min(0)  # it is negative only by rounding
