"""Distances between two sets of pictures, by their features, and the influence of each pair on them.

The kernel comes from torchmetrics. Not in torchmetrics, hence written here: sets of pairs that share pictures,
influences, and a Fréchet distance that is fast for few pictures (a test compares it with torchmetrics').
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

from quantart.evaluation.resampling import Sharing


def frechet_distance(outputs: Tensor, references: Tensor) -> tuple[float, Tensor]:
    """Fréchet distance of normal distributions fitted to features (Heusel et al., NeurIPS 2017), in float64.

    The value depends on the network. With fewer pictures than features it depends strongly on their number, and falls
    as that grows, so compare equal numbers only.

    Let A and B be the centred, scaled features (covariances AᵀA, BᵀB) and ABᵀ = USVᵀ. The distance is
    ‖mean difference‖² + ‖A‖² + ‖B‖² - 2 Σ S: the trace of the root of the covariances' product is Σ S. ABᵀ has at most
    n × n entries, so this takes milliseconds for 48 pictures and 1,280 features, where eigenvalues of the product take
    seconds.

    The influences are the infinitesimal jackknife (Efron, 1982). Resampling the rows themselves would not do: a set
    with duplicates has a smaller covariance of lower rank, hence a larger distance. The influences say nothing about
    the distance of larger sets. The weights enter A and B by their square roots. The term by which the means shift
    inside A and B vanishes, because the columns of U and V with non-zero singular values sum to 0.

    From the features `(n, d)` of the pairs' pictures, n at least 2, come the distance, at least 0, and its derivatives
    by the pairs' weights, `(n,)` float64, summing to 0.
    """
    x, y = outputs.double().cpu(), references.double().cpu()
    n = len(x)
    a, b = _scatter(x), _scatter(y)
    shift = x.mean(0) - y.mean(0)
    qa, ra = torch.linalg.qr(a)  # keeps the decomposition at most n × n or d × d
    qb, rb = torch.linalg.qr(b)
    u, s, vt = torch.linalg.svd(ra @ rb.mT)
    spread = a.square().sum(1) + b.square().sum(1)
    value = max(float(shift.square().sum() + a.square().sum() + b.square().sum() - 2 * s.sum()), 0.0)
    influence = 2 / n * (n - 1) ** 0.5 * (a - b) @ shift + spread - (qa @ u).square() @ s - (qb @ vt.mT).square() @ s
    return value, influence - influence.mean()


def kernel_distance(outputs: Tensor, references: Tensor, sharing: Sharing) -> tuple[float, Tensor]:
    """Squared maximum mean discrepancy of features, with the kernel (x·y/d + 1)³ (Bińkowski et al., ICLR 2018).

    Computed in float64 over all pictures, not over random subsets as in that paper. Only unrelated pictures are
    compared: outputs of different photographs and paintings, different paintings, and outputs with paintings other
    than their own. So the estimate is unbiased however the pairs were made. It is not clipped: for two sets from one
    distribution it is negative as often as positive.

    From the features `(n, d)` of the pairs' pictures come the distance and each pair's influence on it, `(n,)` float64,
    summing to 0. Both are NaN where all pairs share a photograph or a painting.
    """
    x, y = outputs.double().cpu(), references.double().cpu()
    apart, other_style = sharing.apart, sharing.other_style
    value, influence = 0.0, torch.zeros(len(x), dtype=torch.float64)
    for one, other, counted, factor in ((x, x, apart, 1.0), (y, y, other_style, 1.0), (x, y, other_style, -2.0)):
        kernel, total = poly_kernel(one, other), counted.sum()
        mean = (kernel * counted).sum() / total
        excess = (kernel - mean) * counted
        value += factor * float(mean)
        influence += factor * (excess.sum(0) + excess.sum(1)) / total
    return value, influence


def _scatter(features: Tensor) -> Tensor:
    """`(n, d)`, centred and scaled: A such that AᵀA is the covariance."""
    return (features - features.mean(0)) / (len(features) - 1) ** 0.5
