"""Intervals from resampled pairs (the bootstrap, Efron 1979): the same draws for every metric, method and run."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 2000


def draws(n: int, resamples: int = RESAMPLES) -> Tensor:
    """Which of n pairs each resampling takes, n with replacement: `(resamples, n)` int64, on the CPU.

    Always the same for equal arguments, so that statistics of two models on the same pairs can be subtracted draw by
    draw.
    """
    return torch.from_numpy(np.random.default_rng(0).integers(n, size=(resamples, n)))


def interval(value: float, resampled: Tensor) -> tuple[float, float]:
    """The 95 % interval `(low, high)` of a value: percentiles of its resampled values `(r,)`, moved so that their mean
    is the value, because resampling alone may shift a statistic of a whole set.

    It covers the chance by which pairs were picked, not that pairs share pictures: the true interval is somewhat wider.
    NaNs among the resampled are left out; all NaN gives NaN.
    """
    known = resampled[~resampled.isnan()].double().cpu().numpy()
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known - known.mean(), [0.025, 0.975])
    return value + float(low), value + float(high)
