"""From a value for each pair to means with intervals, and to differences between methods or models."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantart.evaluation.estimates import Estimate, Summary, rows_of
from quantart.evaluation.resampling import Sharing, estimate
from quantart.evaluation.set_distances import frechet_distance, kernel_distance
from quantart.vocabulary import metrics

Verdict = Literal["better", "worse", "not told apart", ""]
"""Of a difference, by whether its interval contains 0; "" where there is no interval."""


class Measurement(NamedTuple):
    """A metric of a method: the mean over all pairs, or one value of all pictures together."""

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

    Rows and features `(n, d)` are in the order of the pairs; every numeric column except `pair` is a metric.
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
    content = next((found[name] for name in columns if name.startswith(metrics.CONTENT_DISTANCES)), None)
    for name in set_metrics:
        if name.startswith(metrics.FRECHET_NAMES):
            found[name] = Measurement(frechet, influence)
        elif name.startswith(metrics.KERNEL_NAMES) and not np.isnan(kernel.value):
            found[name] = kernel
        elif name.startswith(metrics.COMPOSITE_NAMES) and content is not None and content.influence is not None:
            product = (1 + content.value) * (1 + frechet)
            found[name] = Measurement(product, (1 + frechet) * content.influence + (1 + content.value) * influence)
    return found


def sharing_of(rows: pd.DataFrame) -> Sharing:
    """Which rows of a method share a photograph or a painting; in a reconstruction none do."""
    return Sharing.of(rows["content"], rows["style"]) if "content" in rows else Sharing.none(len(rows))


def summarise(table: pd.DataFrame, measured: Mapping[str, Mapping[str, Measurement]]) -> Summary:
    """Estimates from measurements by method, then metric; `table` has the same order of pairs for each method."""
    sharing = sharing_of(rows_of(table, next(iter(measured))))
    return {
        method: {metric: estimate(*each, sharing) for metric, each in found.items()}
        for method, found in measured.items()
    }


def difference(first: Measurement, second: Measurement, sharing: Sharing) -> Estimate:
    """The second minus the first, both on the same pairs; without an interval where an influence is unknown."""
    influence = None
    if first.influence is not None and second.influence is not None:
        influence = second.influence - first.influence
    return estimate(second.value - first.value, influence, sharing)


def verdict(metric: str, difference: Estimate) -> Verdict:
    """How the second compares with the first, given the second minus the first."""
    if not difference.has_interval:
        return ""
    if difference.low <= 0 <= difference.high:
        return "not told apart"
    return "better" if (difference.low > 0) == metrics.larger_is_better(metric) else "worse"
