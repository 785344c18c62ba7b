"""From a value for each pair to means with intervals."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantart.evaluation.resampling import Sharing, interval, moved
from quantart.evaluation.set_distances import frechet_distance, frechet_influence, kernel_distance
from quantart.vocabulary.metrics import COMPOSITE_NAMES, CONTENT_DISTANCES, FRECHET_NAMES, KERNEL_NAMES


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


class Measurement(NamedTuple):
    """A metric of a method on all pairs."""

    value: float
    influence: Tensor | None
    """Of each pair, `(n,)` float64, see `resampling`; None where it is not known."""


def measurements(
    rows: pd.DataFrame, outputs: NDArray[np.float32], references: NDArray[np.float32], names: Iterable[str]
) -> dict[str, Measurement]:
    """Means over the rows of one method, then the distances between its pictures and the references.

    The composite, (1 + mean content distance) · (1 + Fréchet distance), is ArtFID's formula (Wright and Ommer, GCPR
    2022) on other networks. What can't be had is left out: distances of sets of one picture, and the kernel distance
    where all pairs share a picture.

    Args:
        rows: in the order of the pairs; every numeric column but `pair` is a metric.
        outputs, references: features `(n, d)` of the pairs' pictures.
        names: among which those of the distances of sets are found.
    """
    n = len(rows)
    columns = [str(name) for name in rows.select_dtypes("number") if name != "pair"]
    values = {name: torch.tensor(rows[name].to_numpy(np.float64)) for name in columns}
    found = {name: Measurement(float(v.mean()), (v - v.mean()) / n) for name, v in values.items()}
    if n < 2:
        return found
    ours, theirs = torch.from_numpy(outputs), torch.from_numpy(references)
    frechet, influence = frechet_distance(ours, theirs), frechet_influence(ours, theirs)
    kernel = Measurement(*kernel_distance(ours, theirs, sharing_of(rows)))
    content = next((found[name] for name in columns if name.startswith(CONTENT_DISTANCES)), None)
    for name in names:
        if name.startswith(FRECHET_NAMES):
            found[name] = Measurement(frechet, influence)
        elif name.startswith(KERNEL_NAMES) and not np.isnan(kernel.value):
            found[name] = kernel
        elif name.startswith(COMPOSITE_NAMES) and content is not None and content.influence is not None:
            product = (1 + content.value) * (1 + frechet)
            found[name] = Measurement(product, (1 + frechet) * content.influence + (1 + content.value) * influence)
    return found


def sharing_of(rows: pd.DataFrame) -> Sharing:
    """Which rows of a table share a photograph or a painting; those of a reconstruction share none."""
    return (
        Sharing.of(rows["content"].tolist(), rows["style"].tolist()) if "content" in rows else Sharing.none(len(rows))
    )


def summarise(
    table: pd.DataFrame,
    measured: Mapping[str, Mapping[str, Measurement]],
) -> list[Score]:
    """A score for each method and metric.

    Args:
        table: a row for each method and pair; of each method in the same order of pairs.
        measured: by method, then metric.
    """
    scores: list[Score] = []
    for method, metrics in measured.items():
        rows = table.loc[table["method"] == method]
        for metric, (value, influence) in metrics.items():
            ends = (np.nan, np.nan) if influence is None else interval(value, moved(influence, sharing_of(rows)))
            scores.append(Score(method, metric, value, *ends, len(rows)))
    return scores


def difference(first: Measurement, second: Measurement, sharing: Sharing) -> tuple[float, float, float]:
    """Second less first, on the same pairs, with the ends of its interval; NaN where an influence is not known."""
    value = second.value - first.value
    if first.influence is None or second.influence is None:
        return value, np.nan, np.nan
    return (value, *interval(value, moved(second.influence - first.influence, sharing)))
