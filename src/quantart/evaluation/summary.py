"""From a value for each pair to means with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantart.evaluation import resampling
from quantart.evaluation.observed import Perception
from quantart.evaluation.resampling import draws
from quantart.evaluation.sets import (
    FEWEST_RESAMPLED,
    frechet_distance,
    frechet_resampled,
    kernel_distance,
    kernel_resampled,
)

# what these metrics' names begin with; a network's name may follow
CONTENT_DISTANCES = ("lpips_", "perceptual_")
FRECHET_NAMES, KERNEL_NAMES = ("fd_", "fid"), ("kd_", "kid")


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


class SetScore(NamedTuple):
    """A metric of all pictures of a method together; NaN where there is no interval."""

    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan


def by_method(summary: Sequence[Score]) -> dict[str, dict[str, Score]]:
    """Scores by method, then metric, in the order in which they come."""
    scores: dict[str, dict[str, Score]] = {}
    for score in summary:
        scores.setdefault(score.method, {})[score.metric] = score
    return scores


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the bootstrap 95 % interval of the mean over axis 0: `(n, k)` → two `(k,)`.

    The same draws every time, see `resampling`. One pair alone has no interval: NaN.
    """
    if len(values) < 2:
        unknown = np.full(values.shape[1:], np.nan)
        return unknown, unknown
    means = torch.tensor(values)[draws(len(values))].mean(1)  # (r, k)
    ends = [resampling.interval(float(value), mean) for value, mean in zip(values.mean(0), means.T, strict=True)]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])


def summarise(table: pd.DataFrame, of_sets: Mapping[str, Sequence[SetScore]]) -> list[Score]:
    """Means over the rows of each method, in the table's order, then the metrics of its pictures together.

    Args:
        table: a row for each method and pair; every numeric column but `pair` is a metric.
        of_sets: metrics of all pictures together, by method.
    """
    names = [str(name) for name in table.select_dtypes("number") if name != "pair"]
    scores: list[Score] = []
    for method in table["method"].unique():
        values = table.loc[table["method"] == method, names].to_numpy(np.float64)
        low, high = interval(values)
        of_pairs = zip(names, values.mean(0).tolist(), low.tolist(), high.tolist(), strict=True)
        scores += [Score(method, *score, len(values)) for score in (*of_pairs, *of_sets.get(method, ()))]
    return scores


def set_scores(
    outputs: NDArray[np.float32],
    references: NDArray[np.float32],
    distances: NDArray[np.float64],
    perception: Perception,
) -> list[SetScore]:
    """The Fréchet distance, the kernel distance and the composite.

    The composite, (1 + mean content distance) · (1 + Fréchet distance), is ArtFID's formula (Wright and Ommer, GCPR
    2022) on other networks.

    Args:
        outputs, references: features `(n, d)` of the pairs' pictures.
        distances: content distance of each pair, `(n,)`.
    """
    ours, theirs = torch.from_numpy(outputs), torch.from_numpy(references)
    drawn = draws(len(ours))
    frechet, frechets = frechet_distance(ours, theirs), frechet_resampled(ours, theirs, drawn)
    kernel, kernels = kernel_distance(ours, theirs), kernel_resampled(ours, theirs, drawn)
    content = torch.tensor(distances)
    composite, composites = (1 + content.mean()) * (1 + frechet), (1 + content[drawn].mean(1)) * (1 + frechets)
    names = perception.features.frechet, perception.features.kernel, perception.composite
    values = (frechet, frechets), (kernel, kernels), (float(composite), composites)
    return [
        SetScore(name, value, *resampling.interval(value, r)) for name, (value, r) in zip(names, values, strict=True)
    ]


def resampled_scores(
    rows: pd.DataFrame,
    outputs: NDArray[np.float32],
    references: NDArray[np.float32],
    metrics: Iterable[str],
) -> dict[str, Tensor]:
    """Each metric of a method on every resampling of its pairs, float64 `(r,)`; the same draws for every method.

    So the difference of two methods has the interval of the resampled differences. Usage and perplexity have none, and
    fewer than `FEWEST_RESAMPLED` pairs tell nothing: no metric.

    Args:
        rows: of the method, in the order of the pairs; every numeric column but `pair` is a metric.
        outputs, references: features `(n, d)` of the pairs' pictures.
        metrics: names of the method's metrics, among them those of sets.
    """
    if len(rows) < FEWEST_RESAMPLED:
        return {}
    drawn = draws(len(rows))
    names = [str(name) for name in rows.select_dtypes("number") if name != "pair"]
    scores = {name: torch.tensor(rows[name].to_numpy(np.float64))[drawn].mean(1) for name in names}
    ours, theirs = torch.from_numpy(outputs), torch.from_numpy(references)
    frechet = frechet_resampled(ours, theirs, drawn)
    content = next((scores[name] for name in names if name.startswith(CONTENT_DISTANCES)), None)
    for metric in metrics:
        if metric.startswith(FRECHET_NAMES):
            scores[metric] = frechet
        elif metric.startswith(KERNEL_NAMES):
            scores[metric] = kernel_resampled(ours, theirs, drawn)
        elif metric.startswith("composite_") and content is not None:
            scores[metric] = (1 + content) * (1 + frechet)
    return scores
