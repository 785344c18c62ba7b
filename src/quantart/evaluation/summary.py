"""From a value for each pair to means with intervals, and to differences between methods or models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantart.evaluation.resampling import Estimate, Sharing, estimate
from quantart.evaluation.set_distances import frechet_distance, kernel_distance
from quantart.vocabulary.metrics import (
    COMPOSITE_NAMES,
    CONTENT_DISTANCES,
    FRECHET_NAMES,
    KERNEL_NAMES,
    MODEL,
    larger_is_better,
)

Verdict = Literal["better", "worse", "not told apart", ""]
"""Of a difference, by whether its interval contains 0; "" where there is no interval."""


class Score(NamedTuple):
    """One metric of one method."""

    method: str
    metric: str
    value: float
    """Mean over pairs, or one value of all pictures together."""
    low: float
    """Ends of the bootstrap 95 % interval; NaN where there is none."""
    high: float
    n: int
    """Number of pairs, that is of pictures that the method made."""


class Measurement(NamedTuple):
    """A metric of a method on all pairs."""

    value: float
    influence: Tensor | None = None
    """Of each pair, `(n,)` float64, see `resampling`; None where it is unknown."""


def measurements(
    rows: pd.DataFrame, outputs: NDArray[np.float32], references: NDArray[np.float32], set_metrics: Iterable[str]
) -> dict[str, Measurement]:
    """Means over the rows of one method, then the distances between its pictures and the references.

    The composite, (1 + mean content distance) · (1 + Fréchet distance), has the form of ArtFID (Wright and Ommer, GCPR
    2022) on other networks. Undefined metrics are left out: set distances of a single picture, and the kernel distance
    where all pairs share a picture.

    Args:
        rows: in the order of the pairs; every numeric column except `pair` is a metric.
        outputs, references: features `(n, d)` of the pairs' pictures.
        set_metrics: names of the metrics of whole sets.
    """
    n = len(rows)
    columns = [str(name) for name in rows.select_dtypes("number") if name != "pair"]
    values = {name: torch.tensor(rows[name].to_numpy(np.float64)) for name in columns}
    found = {name: Measurement(float(v.mean()), (v - v.mean()) / n) for name, v in values.items()}
    if n < 2:
        return found
    ours, theirs = torch.from_numpy(outputs), torch.from_numpy(references)
    frechet, influence = frechet_distance(ours, theirs)
    kernel = Measurement(*kernel_distance(ours, theirs, sharing_of(rows)))
    content = next((found[name] for name in columns if name.startswith(CONTENT_DISTANCES)), None)
    for name in set_metrics:
        if name.startswith(FRECHET_NAMES):
            found[name] = Measurement(frechet, influence)
        elif name.startswith(KERNEL_NAMES) and not np.isnan(kernel.value):
            found[name] = kernel
        elif name.startswith(COMPOSITE_NAMES) and content is not None and content.influence is not None:
            product = (1 + content.value) * (1 + frechet)
            found[name] = Measurement(product, (1 + frechet) * content.influence + (1 + content.value) * influence)
    return found


def rows_of(table: pd.DataFrame, method: str = MODEL) -> pd.DataFrame:
    """The rows of one method in a table with a row for each method and pair."""
    return table.loc[table["method"] == method]


def sharing_of(rows: pd.DataFrame) -> Sharing:
    """Which rows of a method share a photograph or a painting; in a reconstruction none do."""
    if "content" not in rows:
        return Sharing.none(len(rows))
    return Sharing.of(rows["content"].tolist(), rows["style"].tolist())


def summarise(table: pd.DataFrame, measured: Mapping[str, Mapping[str, Measurement]]) -> list[Score]:
    """A score for each method and metric.

    Args:
        table: a row for each method and pair, with the same order of pairs for each method.
        measured: by method, then metric.
    """
    scores: list[Score] = []
    for method, metrics in measured.items():
        rows = rows_of(table, method)
        sharing = sharing_of(rows)
        scores += [Score(method, name, *_estimate(each, sharing), len(rows)) for name, each in metrics.items()]
    return scores


def by_method(summary: Sequence[Score]) -> dict[str, dict[str, Score]]:
    """Scores by method, then metric, in their order."""
    scores: dict[str, dict[str, Score]] = {}
    for score in summary:
        scores.setdefault(score.method, {})[score.metric] = score
    return scores


def difference(first: Measurement, second: Measurement, sharing: Sharing) -> Estimate:
    """The second minus the first, both on the same pairs; without an interval where an influence is unknown."""
    known = first.influence is not None and second.influence is not None
    influence = second.influence - first.influence if known else None  # type: ignore[operator]
    return _estimate(Measurement(second.value - first.value, influence), sharing)


def verdict(metric: str, difference: Estimate) -> Verdict:
    """How the second compares with the first, given the second minus the first."""
    if not difference.has_interval:
        return ""
    if difference.low <= 0 <= difference.high:
        return "not told apart"
    return "better" if (difference.low > 0) == larger_is_better(metric) else "worse"


def _estimate(measured: Measurement, sharing: Sharing) -> Estimate:
    value, influence = measured
    return Estimate(value) if influence is None else estimate(value, influence, sharing)
