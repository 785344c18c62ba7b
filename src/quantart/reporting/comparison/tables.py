"""A comparison on the terminal, and as a CSV file."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from quantart.data.files import FORMULA_STARTS
from quantart.reporting.comparison.compare import Comparison, Difference, PairOfRuns
from quantart.reporting.painting import RULE
from quantart.reporting.words import NO_INTERVAL, UNITS, number, signed

MANY_METRICS = (
    "Each interval is 95 % for its metric alone: of twenty metrics that do not differ, one shows a difference by "
    "chance. The intervals cover the choice of pictures, not the training: another seed adds noise of its own."
)

_COLOURS = {"better": "green", "worse": "red", "not told apart": "default", "": "default"}


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the runs, differing parameters, metrics and differences, then which run is better in words."""
    console = console or Console()
    tables = [_runs(comparison), _parameters(comparison), _metrics(comparison)]
    tables += map(_differences, comparison.pairs)
    for table in tables:
        if table.row_count:
            console.print(table)
            console.print()
    for pair in comparison.pairs:
        console.print(pair.sentence, markup=False, highlight=False)
    for sentence in [*comparison.hands, *([RULE] if comparison.hands else []), *comparison.votes]:
        console.print(sentence, markup=False, highlight=False)
    if any(pair.differences for pair in comparison.pairs):
        console.print(MANY_METRICS, style="dim", highlight=False)


def csv_text(comparison: Comparison) -> str:
    """A row for each pair of runs and metric: both values and the difference, each with its interval, and the verdict.

    The difference is empty where the runs were evaluated on different pictures. Text that a spreadsheet would take for
    a formula begins with an apostrophe.
    """
    metrics = comparison.metrics
    parts = []
    for pair in comparison.pairs:
        one, two = (metrics[metrics["run"] == letter].drop(columns="run") for letter in (pair.first, pair.second))
        both = one.merge(two, on="metric", suffixes=("_first", "_second"))
        for place, letter in (("first", pair.first), ("second", pair.second)):
            run = comparison.runs[letter]
            both[f"{place}_run"], both[f"{place}_name"] = run.run_id, run.name
        differences = pd.DataFrame(pair.differences, columns=list(Difference._fields))
        parts.append(both.merge(differences, on="metric", how="left"))
    names = ["first_run", "first_name", "second_run", "second_name", "metric"]
    values = [f"{column}_{place}" for place in ("first", "second") for column in ("value", "low", "high", "n")]
    table = pd.concat(parts, ignore_index=True)[names + values + ["difference", "low", "high", "verdict", "caution"]]
    table = table.map(lambda cell: f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA_STARTS) else cell)
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def _runs(comparison: Comparison) -> Table:
    table = _table("Runs", "", "run", "name", "started", "measured on")
    for letter, run in comparison.runs.items():
        about = run.record.about
        measured = f"{about.n} {UNITS[about.kind]} at {about.resolution} px"
        table.add_row(letter, run.run_id[:8], escape(run.name), f"{run.started:%Y-%m-%d %H:%M}", measured)
    return table


def _parameters(comparison: Comparison) -> Table:
    table = _table("Parameters that differ", "parameter", *comparison.runs)
    for name, *values in comparison.parameters.itertuples(name=None):
        table.add_row(escape(name), *map(escape, values))
    return table


def _metrics(comparison: Comparison) -> Table:
    values = [Column(letter, justify="right", overflow="fold") for letter in comparison.runs]
    table = _table("Metrics, with 95 % intervals", Column("metric", no_wrap=True), *values)
    short = partial(number, digits=3)
    for metric, found in comparison.by_metric():
        cells = [each and number(each.value) + _interval(each.low, each.high, short) for each in found]
        table.add_row(escape(metric), *cells)
    return table


def _differences(pair: PairOfRuns) -> Table:
    columns = [
        Column("metric", no_wrap=True),
        Column("difference", justify="right", no_wrap=True),
        Column(f"{pair.second} is", min_width=len("not told apart")),
    ]
    table = _table(f"{pair.second} − {pair.first} on the same pictures, with 95 % intervals", *columns)
    for row in pair.differences:
        caution = f"\n[dim]{row.caution}[/]" if row.caution else ""
        table.add_row(
            escape(row.metric),
            signed(row.difference) + _interval(row.low, row.high, signed),
            f"[{_COLOURS[row.verdict]}]{row.verdict}[/]{caution}",
        )
    return table


def _interval(low: float, high: float, written: Callable[[float], str]) -> str:
    return f"\n[dim]{NO_INTERVAL if np.isnan(low) else f'{written(low)} … {written(high)}'}[/]"


def _table(title: str, *columns: str | Column) -> Table:
    """Without lines between the columns: the longest metric, a difference and a verdict fill 80 columns."""
    folded = [Column(each, overflow="fold") if isinstance(each, str) else each for each in columns]
    style: dict[str, Any] = {"box": box.SIMPLE_HEAD, "show_edge": False, "pad_edge": False, "padding": 0}
    return Table(*folded, title=title, title_justify="left", **style)
