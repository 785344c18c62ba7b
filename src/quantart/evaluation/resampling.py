"""Confidence intervals for pairs that share photographs and paintings: both are resampled (bootstrap, Efron 1979).

The input is a statistic's influence values: its derivatives by the pairs' weights. For a mean they are the deviations
divided by n. Redrawing the photographs changes the statistic by the sum of the drawn pairs' influences, and so does
redrawing the paintings. Adding both changes would count twice what belongs to a single pair, so the sum is scaled to
the variance of two-way clustering (Cameron, Gelbach and Miller, J. Bus. Econ. Stat. 2011): the variance by photographs
plus the variance by paintings minus the variance by pairs.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from quantart.evaluation.estimates import Estimate

RESAMPLES = 2000
FEWEST_PAIRS = 3
"""With fewer pairs there is no interval."""


class Sharing(NamedTuple):
    """Which pairs share a picture: the numbers, from 0, of their photographs and paintings, `(n,)` int64 each."""

    contents: Tensor
    styles: Tensor

    @classmethod
    def of(cls, contents: Iterable[object], styles: Iterable[object]) -> Self:
        """From anything that identifies the pairs' photographs and paintings."""
        return cls(
            *(torch.from_numpy(np.unique(list(map(str, s)), return_inverse=True)[1]) for s in (contents, styles))
        )

    @classmethod
    def none(cls, n: int) -> Self:
        """For n independent pictures, as in a reconstruction."""
        return cls(torch.arange(n), torch.arange(n))

    @property
    def apart(self) -> Tensor:
        """1 where two pairs share no picture, else 0: `(n, n)` float64."""
        return self.other_style * (self.contents[:, None] != self.contents)

    @property
    def other_style(self) -> Tensor:
        """1 where two pairs have different paintings, else 0: `(n, n)` float64."""
        return (self.styles[:, None] != self.styles).double()


def estimate(value: float, influence: Tensor | None, sharing: Sharing) -> Estimate:
    """A statistic with its 95 % interval: percentiles of its resampled values, centred on its own value.

    The pairs' influences `(n,)` sum to 0; there is no interval where they are unknown.
    """
    if influence is None or len(influence) < FEWEST_PAIRS or influence.isnan().any():
        return Estimate(value)
    changes = resampled_changes(influence, sharing)
    low, high = np.quantile((changes - changes.mean()).numpy(), [0.025, 0.975])
    return Estimate(value, value + float(low), value + float(high))


def resampled_changes(influence: Tensor, sharing: Sharing) -> Tensor:
    """The change of a statistic in each resampling, `(RESAMPLES,)` float64.

    Every metric and model gets the same draws. So for two models on the same pairs, the change of their difference
    follows from the difference of their influences.
    """
    sums = _cluster_sums(influence, sharing)
    # resampling k clusters gives (k - 1) / k of the true variance
    changes = [_extra_draws(len(s), seed) @ s * (len(s) / max(len(s) - 1, 1)) ** 0.5 for seed, s in enumerate(sums)]
    both = sum(float(s.square().sum()) for s in sums)
    return (changes[0] + changes[1]) * ((two_way_variance(influence, sharing) / both) ** 0.5 if both > 0 else 0.0)


def two_way_variance(influence: Tensor, sharing: Sharing) -> float:
    """Variance of a statistic, clustered by photographs and by paintings, from the pairs' influences `(n,)`."""
    by_content, by_style = (float(s.square().sum()) for s in _cluster_sums(influence, sharing))
    by_pair = float(influence.double().square().sum())
    return max(by_content + by_style - by_pair, by_content, by_style, by_pair)


def _cluster_sums(influence: Tensor, sharing: Sharing) -> list[Tensor]:
    """The influences summed by photograph, and by painting; where all pairs share one picture, by pair."""
    return [torch.bincount(ids if ids.max() > 0 else torch.arange(len(ids)), influence.double()) for ids in sharing]


@lru_cache(maxsize=8)
def _extra_draws(k: int, seed: int) -> Tensor:
    """When drawing k of k clusters with replacement: the number of draws of each, minus 1; `(RESAMPLES, k)` float64."""
    drawn = torch.from_numpy(np.random.default_rng(seed).integers(k, size=(RESAMPLES, k)))
    counts = torch.zeros(RESAMPLES, k, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64)) - 1
