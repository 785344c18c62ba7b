"""Grids of held-out pairs with their outputs and baselines, and which pairs are the best and the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from quantart.evaluation.estimates import rows_of
from quantart.images.arrays import Picture
from quantart.images.grid import picture_grid
from quantart.vocabulary.methods import ADAIN, COLOUR_MATCHED, COPIED_CONTENT, COPIED_STYLE, MAGENTA, MODEL, REFINED

GRID_PAIRS = 12
_COLUMNS = {
    COPIED_CONTENT: "content",
    COPIED_STYLE: "style",
    MODEL: "output",
    REFINED: "refined",
    ADAIN: "AdaIN baseline",
    COLOUR_MATCHED: "colours matched",
    MAGENTA: "Magenta",
}
_CELL = 160
_GUTTER = 24


def transfer_grid(samples: Sequence[Mapping[str, Picture]]) -> Picture:
    """Each pair in a row: content, style, the model's output, then the baselines that every sample has.

    The rows fill two blocks, the left one first, because web pages and MLflow's square cards show a tall picture small.
    """
    height, columns = math.ceil(len(samples) / 2), _columns(samples)
    left = _grid(samples[:height], columns)
    if len(samples) == 1:
        return left
    right = _grid(samples[height:], columns)
    right = np.pad(right, ((0, len(left) - len(right)), (_GUTTER, 0), (0, 0)), constant_values=255)
    return np.concatenate([left, right], axis=1)


def ranked_pairs(table: pd.DataFrame, column: str, each: int = 3) -> dict[str, list[int]]:
    """The numbers of the `best`, `median` and `worst` pairs by the model's values of a metric; smaller is better.

    Each list goes from better to worse. With fewer than `3 * each` pairs each list gets a third of them, or one while
    any are left, so no pair is in two lists.
    """
    in_order = _model_values(table, column).sort_values(kind="stable").index.tolist()
    count = min(each, max(1, len(in_order) // 3))
    best, rest = in_order[:count], in_order[count:]
    between, worst = rest[:-count], rest[-count:]
    start = max(0, (len(between) - count) // 2)
    return {"best": best, "median": between[start : start + count], "worst": worst}


def ranked_grid(
    pictures: Mapping[int, Mapping[str, Picture]], table: pd.DataFrame, column: str, each: int = 3
) -> Picture:
    """The pairs of `ranked_pairs`, each in a row titled with its rank and value; columns as in `transfer_grid`.

    The pictures, by the pair's number, then method, include the ranked pairs'.
    """
    values = _model_values(table, column)
    ranked = [(rank, pair) for rank, pairs in ranked_pairs(table, column, each).items() for pair in pairs]
    samples = [pictures[pair] for _, pair in ranked]
    return _grid(samples, _columns(samples), [f"{rank} {values[pair]:.3g}" for rank, pair in ranked])


def _columns(samples: Sequence[Mapping[str, Picture]]) -> list[str]:
    return [method for method in _COLUMNS if all(method in sample for sample in samples)]


def _grid(
    samples: Sequence[Mapping[str, Picture]], methods: Sequence[str], row_titles: Sequence[str] | None = None
) -> Picture:
    rows = [[sample[method] for method in methods] for sample in samples]
    return picture_grid(rows, [_COLUMNS[method] for method in methods], row_titles, cell=_CELL)


def _model_values(table: pd.DataFrame, column: str) -> pd.Series:
    """By the pair's number, sorted by it."""
    return rows_of(table).set_index("pair")[column].sort_index()
