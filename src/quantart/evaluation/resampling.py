"""Intervals for pairs that share photographs and paintings: resampling both (the bootstrap, Efron 1979).

Everything rests on a statistic's influence values, its derivatives by the pairs' weights: of a mean the deviations over
n. Drawing photographs anew moves the statistic by the sum of their pairs' influences, drawing paintings likewise. Both
together would count what is a pair's own twice, so their sum is scaled to the variance of two-way clustering (Cameron,
Gelbach and Miller, J. Bus. Econ. Stat. 2011): by photographs, plus by paintings, less by pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 2000
FEWEST_PAIRS = 3
"""Pairs below which nothing can be said of the spread."""


class Estimate(NamedTuple):
    """A metric, or a difference of two, with the ends of its 95 % interval; NaN where it has none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        return not (math.isnan(self.low) or math.isnan(self.high))

    def __str__(self) -> str:
        ends = f" ({self.low:.4g} to {self.high:.4g})" if self.has_interval else ""
        return f"{self.value:.4g}{ends}"


class Sharing(NamedTuple):
    """Which pairs share a picture: the numbers of their photographs and paintings, `(n,)` int64 each from 0 on."""

    contents: Tensor
    styles: Tensor

    @classmethod
    def of(cls, contents: Sequence[object], styles: Sequence[object]) -> Self:
        """Of the pairs' photographs and paintings, by whatever names them."""
        return cls(
            *(torch.from_numpy(np.unique(list(map(str, s)), return_inverse=True)[1]) for s in (contents, styles))
        )

    @classmethod
    def none(cls, n: int) -> Self:
        """Of n pictures that stand alone, as in a reconstruction."""
        return cls(torch.arange(n), torch.arange(n))

    @property
    def apart(self) -> Tensor:
        """1 where two pairs share no picture, else 0: `(n, n)` float64."""
        return self.other_style * (self.contents[:, None] != self.contents)

    @property
    def other_style(self) -> Tensor:
        """1 where two pairs have different paintings, else 0: `(n, n)` float64."""
        return (self.styles[:, None] != self.styles).double()


def moved(influence: Tensor, sharing: Sharing) -> Tensor:
    """By how much a statistic moves with each resampling, float64 `(r,)`: the same draws for every metric and model.

    So two models on the same pairs are compared by the difference of their influence values.

    Args:
        influence: `(n,)`, summing to 0. NaN everywhere for fewer than `FEWEST_PAIRS` pairs.
    """
    if len(influence) < FEWEST_PAIRS:
        return torch.full((RESAMPLES,), torch.nan, dtype=torch.float64)
    # of one picture in all pairs nothing can be said, but of the pairs
    sums = [_sums(influence.double(), ids if ids.max() > 0 else torch.arange(len(ids))) for ids in sharing]
    # a drawn set of k clusters varies by (k - 1) / k of what it should
    moves = [_times_drawn(len(s), seed) @ s * (len(s) / max(len(s) - 1, 1)) ** 0.5 for seed, s in enumerate(sums)]
    by_content, by_style = (float(s.square().sum()) for s in sums)
    by_pair = float(influence.double().square().sum())
    wanted = max(by_content + by_style - by_pair, by_content, by_style, by_pair)
    both = by_content + by_style
    return (moves[0] + moves[1]) * ((wanted / both) ** 0.5 if both > 0 else 0.0)


def interval(value: float, moves: Tensor) -> tuple[float, float]:
    """The 95 % interval `(low, high)` of a value: percentiles of its resampled values, whose mean is the value's own.

    All NaN gives NaN.
    """
    if moves.isnan().any():
        return float("nan"), float("nan")
    low, high = np.quantile((moves - moves.mean()).numpy(), [0.025, 0.975])
    return value + float(low), value + float(high)


def _sums(influence: Tensor, ids: Tensor) -> Tensor:
    """Of each cluster: `(n,)` → `(k,)`."""
    return torch.zeros(int(ids.max()) + 1, dtype=torch.float64).index_add_(0, ids, influence)


@lru_cache(maxsize=8)
def _times_drawn(k: int, seed: int) -> Tensor:
    """How often more than once each of k clusters is drawn, k with replacement: `(RESAMPLES, k)` float64."""
    drawn = torch.from_numpy(np.random.default_rng(seed).integers(k, size=(RESAMPLES, k)))
    counts = torch.zeros(RESAMPLES, k, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) - 1
