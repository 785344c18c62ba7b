"""Distances between two sets of pictures, by their features; what they would be on other draws of the pairs.

The kernel is torchmetrics' own. What it lacks is ours: a picture in several pairs, resampling that copes with a pair
drawn twice, and a Fréchet distance that is quick for few pictures (a test compares it with torchmetrics').
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.image.kid import poly_kernel

FEWEST_RESAMPLED = 3
"""Pairs below which nothing can be said of the spread."""
_DRAWS_AT_ONCE = 200  # so that memory hardly grows with the number of pairs


def frechet_distance(outputs: Tensor, references: Tensor) -> float:
    """Fréchet distance of normal distributions fitted to features `(n, d)` and `(m, d)` (Heusel et al., NeurIPS 2017).

    At least 0; n and m at least 2; computed in float64. It depends on the network and, for fewer pictures than `d`,
    strongly on their number, which makes it larger: compare only equal numbers. See `too_few_pictures`.
    """
    x, y = outputs.double().cpu(), references.double().cpu()
    a, b = _scatter(x), _scatter(y)
    shift = x.mean(0) - y.mean(0)
    # the trace of the covariances' product's root is the sum of the singular values of ABᵀ, which has at most n × m
    # entries: milliseconds for 48 pictures and 1,280 features, where the product's eigenvalues take seconds
    common = torch.linalg.svdvals(torch.linalg.qr(a)[1] @ torch.linalg.qr(b)[1].mT).sum()
    return max(float(shift.square().sum() + a.square().sum() + b.square().sum() - 2 * common), 0.0)


def kernel_distance(outputs: Tensor, references: Tensor) -> float:
    """Squared maximum mean discrepancy of features, twice `(n, d)`, with the kernel (x·y/d + 1)³ (Bińkowski et al.,
    ICLR 2018), in float64.

    Over all pictures, without that paper's random subsets. The estimate is unbiased for any number of pictures, so it
    is not clipped: for two sets of one distribution it is negative as often as positive, and for a set with itself
    slightly negative. A picture that stands in several pairs counts each time, but is never compared with itself.

    Raises:
        ValueError: sets of different size, or fewer than 2 pictures.
    """
    _check_pairs(outputs, references)
    if len(outputs) < 2:
        raise ValueError("the kernel distance needs at least 2 pictures")
    x, y = outputs.double().cpu(), references.double().cpu()
    among = [_mean_of(poly_kernel(z, z), _different(z)) for z in (x, y)]
    return float(sum(among) - 2 * poly_kernel(x, y).mean())


def frechet_resampled(outputs: Tensor, references: Tensor, draws: Tensor) -> Tensor:
    """What `frechet_distance` would be on other draws of the same number of pairs: float64 `(r,)`.

    Not computed on the drawn rows: a set with duplicates has a smaller covariance of lower rank, hence a larger
    distance. Each pair's influence on the distance (its derivative by the pair's weight, the infinitesimal jackknife of
    Efron, 1982) takes its place, so the mean over draws is the distance itself. On rectified normal features, n from 16
    to 96 and d from 16 to 256, the 95 % intervals made of it held the mean distance of sets of n pairs in 89 to 95 % of
    the sets. They say nothing of the distance of larger sets.

    Args:
        outputs, references: features `(n, d)` of the pairs' pictures.
        draws: `(r, n)` int64, see `resampling.draws`.

    Returns:
        NaN for fewer than `FEWEST_RESAMPLED` pairs.
    """
    _check_pairs(outputs, references)
    if len(outputs) < FEWEST_RESAMPLED:
        return torch.full((len(draws),), torch.nan, dtype=torch.float64)
    value, influence = _frechet_influence(outputs.double().cpu(), references.double().cpu())
    return value + (influence - influence.mean())[draws].sum(1)


def _frechet_influence(outputs: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The Fréchet distance, a scalar, and its derivatives `(n,)` by the pairs' weights, which are all 1.

    With centred, scaled features A and B (covariances AᵀA, BᵀB) and the singular values of ABᵀ = USVᵀ (n × n) it is
    ‖mean difference‖² + ‖A‖² + ‖B‖² - 2 Σ S; the weights enter A and B by their square roots, and the term by which the
    means shift inside them vanishes, because the columns of U and V that count sum to 0.
    """
    n = len(outputs)
    a, b = _scatter(outputs), _scatter(references)
    shift = outputs.mean(0) - references.mean(0)
    qa, ra = torch.linalg.qr(a)  # so that the decomposition is never larger than n × n or d × d
    qb, rb = torch.linalg.qr(b)
    u, s, vt = torch.linalg.svd(ra @ rb.mT)
    spread = a.square().sum(1) + b.square().sum(1)
    influence = 2 / n * (n - 1) ** 0.5 * (a - b) @ shift + spread - (qa @ u).square() @ s - (qb @ vt.mT).square() @ s
    return shift.square().sum() + spread.sum() - 2 * s.sum(), influence


def kernel_resampled(outputs: Tensor, references: Tensor, draws: Tensor) -> Tensor:
    """What `kernel_distance` would be on other draws of the same number of pairs: float64 `(r,)`.

    A pair drawn twice is not compared with itself as if it were two pictures, so the mean over draws is the distance
    itself. Arguments as of `frechet_resampled`.

    Returns:
        NaN for a draw of one pair alone, and everywhere for fewer than `FEWEST_RESAMPLED` pairs.
    """
    _check_pairs(outputs, references)
    if len(outputs) < FEWEST_RESAMPLED:
        return torch.full((len(draws),), torch.nan, dtype=torch.float64)
    x, y = outputs.double().cpu(), references.double().cpu()
    n = len(x)
    across, others = poly_kernel(x, y), 1 - torch.eye(n, dtype=torch.float64)
    among = [(poly_kernel(z, z), _different(z)) for z in (x, y)]
    values: list[Tensor] = []
    for weights in _times_drawn(draws).split(_DRAWS_AT_ONCE):
        own = weights @ across.diagonal() / n  # an output and its own reference, which keep their share of 1 / n
        mean_across = ((n - 1) * _mean_of(across, others, weights) + own) / n
        values.append(sum(_mean_of(*each, weights) for each in among) - 2 * mean_across)
    return torch.cat(values)


def _mean_of(kernel: Tensor, counted: Tensor, weights: Tensor | None = None) -> Tensor:
    """Mean of those entries of `(n, n)` that are counted (1, else 0), each row and column by its weight.

    Args:
        weights: `(r, n)`, for r means; None: all are 1, and the mean is a scalar.
    """
    if weights is None:
        return (kernel * counted).sum() / counted.sum()
    return ((weights @ (kernel * counted)) * weights).sum(1) / ((weights @ counted) * weights).sum(1)


def _different(features: Tensor) -> Tensor:
    """Which rows are of different pictures: `(n, d)` → `(n, n)` of 1 and 0.

    A painting in two pairs may have passed through the network in different batches: rows that differ by rounding alone
    are of one picture.
    """
    apart = torch.cdist(features, features, compute_mode="donot_use_mm_for_euclid_dist")
    return (apart > 1e-4 * features.norm(dim=1).mean()).double()


def _scatter(features: Tensor) -> Tensor:
    """`(n, d)`, centred and scaled: A such that AᵀA is the covariance."""
    return (features - features.mean(0)) / (len(features) - 1) ** 0.5


def too_few_pictures(pictures: int, width: int, frechet: str, kernel: str) -> str | None:
    """The warning beside a Fréchet distance (its name, and the kernel distance's) on fewer pictures than features."""
    if pictures >= width:
        return None
    return (
        f"`{frechet}` on {pictures} pictures with {width} features is mostly an effect of their number: "
        f"`{kernel}`, which is unbiased, is the one to judge by."
    )


def _times_drawn(draws: Tensor) -> Tensor:
    """How often each of the n pairs was drawn: `(r, n)` indices → `(r, n)` float64."""
    return torch.zeros(draws.shape, dtype=torch.float64).scatter_add_(
        1, draws, torch.ones(draws.shape, dtype=torch.float64)
    )


def _check_pairs(outputs: Tensor, references: Tensor) -> None:
    if outputs.shape != references.shape:
        raise ValueError(f"features {tuple(outputs.shape)} and {tuple(references.shape)} are not those of pairs")
