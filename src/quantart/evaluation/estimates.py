"""What an evaluation found, as others read it: metrics with their intervals, and tables of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from quantart.vocabulary.methods import MODEL


class Estimate(NamedTuple):
    """A metric, or a difference of two, with the ends of its 95 % interval; NaN where there is none."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @property
    def has_interval(self) -> bool:
        return not (math.isnan(self.low) or math.isnan(self.high))

    def __str__(self) -> str:
        ends = f" ({self.low:.4g} to {self.high:.4g})" if self.has_interval else ""
        return f"{self.value:.4g}{ends}"


Summary = Mapping[str, Mapping[str, Estimate]]
"""Estimates by method, then metric."""


def rows_of(table: pd.DataFrame, method: str = MODEL) -> pd.DataFrame:
    """The rows of one method in a table with a row for each method and pair."""
    return table.loc[table["method"] == method]


def estimates_of(summary: pd.DataFrame) -> dict[str, Estimate]:
    """By metric, from a method's rows of a summary's table."""
    rows = summary[["metric", *Estimate._fields]].itertuples(index=False)
    return {metric: Estimate(*values) for metric, *values in rows}
