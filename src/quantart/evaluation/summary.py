"""From a value for each pair to means with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import bootstrap

RESAMPLES = 2000


class Score(NamedTuple):
    """One metric of one method."""

    method: str
    metric: str
    value: float
    """Mean over pairs, or one value of all pictures together."""
    low: float
    """Ends of the bootstrap 95 % interval of the mean; NaN where there is none."""
    high: float
    n: int
    """Number of pairs, that is of pictures that the method made."""


def by_method(summary: Sequence[Score]) -> dict[str, dict[str, Score]]:
    """Scores by method, then metric, in the order in which they come."""
    scores: dict[str, dict[str, Score]] = {}
    for score in summary:
        scores.setdefault(score.method, {})[score.metric] = score
    return scores


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the bootstrap 95 % interval of the mean over axis 0: `(n, k)` → two `(k,)`.

    Percentiles over resampled pairs, with the same draws every time. Pairs share pictures, so the true interval is
    somewhat wider. One pair alone has no interval: NaN.
    """
    if len(values) < 2:
        unknown = np.full(values.shape[1:], np.nan)
        return unknown, unknown
    draws = np.random.default_rng(0)
    resampled = bootstrap((values,), np.mean, n_resamples=RESAMPLES, batch=100, method="percentile", rng=draws)
    return resampled.confidence_interval.low, resampled.confidence_interval.high


def summarise(table: pd.DataFrame, of_sets: Mapping[str, Mapping[str, float]]) -> list[Score]:
    """Means over the rows of each method, in the table's order, then the metrics of its pictures together.

    Args:
        table: a row for each method and pair; every numeric column but `pair` is a metric.
        of_sets: metrics of all pictures together, by method and name.
    """
    names = [str(name) for name in table.select_dtypes("number") if name != "pair"]
    scores: list[Score] = []
    for method in table["method"].unique():
        values = table.loc[table["method"] == method, names].to_numpy(np.float64)
        low, high = interval(values)
        for column, name in enumerate(names):
            mean = float(values[:, column].mean())
            scores.append(Score(method, name, mean, float(low[column]), float(high[column]), len(values)))
        for name, value in of_sets.get(method, {}).items():
            scores.append(Score(method, name, value, np.nan, np.nan, len(values)))
    return scores
