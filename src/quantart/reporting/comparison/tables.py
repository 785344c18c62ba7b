"""A comparison on the terminal, and as a table for machines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table

from quantart.data.files import FORMULA_STARTS
from quantart.reporting.comparison.compare import UNITS, Comparison, Difference, PairOfRuns

MANY = (
    "Each interval is 95 % for its metric alone: of twenty metrics that do not differ, one leaves 0 out by chance. "
    "The evaluation's own pictures are what was resampled, not the training: another seed is other noise."
)

NO_INTERVAL = "no interval"

_COLOURS = {"better": "green", "worse": "red", "not told apart": "default", "": "default"}


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print runs, differing parameters, metrics, differences and, in words, which run is better."""
    console = console or Console()
    tables: list[RenderableType] = [_runs(comparison)]
    if len(comparison.parameters):
        tables.append(_parameters(comparison))
    tables.append(_metrics(comparison))
    tables += [_differences(pair) for pair in comparison.pairs if pair.differences]
    for table in tables:
        console.print(table)
        console.print()
    for pair in comparison.pairs:
        console.print(pair.sentence, markup=False, highlight=False)
    if any(pair.differences for pair in comparison.pairs):
        console.print(MANY, style="dim", highlight=False)


def csv_text(comparison: Comparison) -> str:
    """A row for each pair of runs and metric: both values with intervals, the difference with its own, the verdict.

    The difference is empty where the runs were evaluated on different data. Text that a spreadsheet would take for a
    formula begins with an apostrophe.
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
    table = pd.concat(parts, ignore_index=True)
    names = ["first_run", "first_name", "second_run", "second_name", "metric"]
    values = [f"{column}_{place}" for place in ("first", "second") for column in ("value", "low", "high", "n")]
    table = table[names + values + ["difference", "low", "high", "verdict", "caution"]]
    text = table.select_dtypes(exclude="number").columns
    table[text] = table[text].map(_no_formula, na_action="ignore")
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def number(value: float, digits: int = 4) -> str:
    """With so many significant digits; a dash for NaN."""
    if np.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def signed(value: float) -> str:
    """Three digits, with the sign."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + number(abs(value), 3)


def _runs(comparison: Comparison) -> Table:
    table = _table("Runs")
    for column in ("", "run", "name", "started", "measured on"):
        table.add_column(column, overflow="fold")
    for letter, run in comparison.runs.items():
        about = run.record.about
        measured = f"{about.n} {UNITS[about.kind]} at {about.resolution} px"
        table.add_row(letter, run.run_id[:8], escape(run.name), f"{run.started:%Y-%m-%d %H:%M}", measured)
    return table


def _parameters(comparison: Comparison) -> Table:
    table = _table("Parameters that differ")
    table.add_column("parameter", overflow="fold")
    for letter in comparison.runs:
        table.add_column(letter, overflow="fold")
    for name, row in comparison.parameters.iterrows():
        table.add_row(escape(str(name)), *(escape(str(value)) for value in row))
    return table


def _metrics(comparison: Comparison) -> Table:
    table = _table("Metrics, with 95 % intervals")
    table.add_column("metric", no_wrap=True)
    for letter in comparison.runs:
        table.add_column(letter, justify="right", overflow="fold")
    for metric, rows in comparison.metrics.groupby("metric", sort=False):
        cells = {row["run"]: _cell(row["value"], row["low"], row["high"]) for row in rows.to_dict("records")}
        table.add_row(escape(str(metric)), *(cells.get(letter, "") for letter in comparison.runs))
    return table


def _cell(value: float, low: float, high: float) -> str:
    return number(value) + _interval(low, high, lambda end: number(end, 3))


def _differences(pair: PairOfRuns) -> Table:
    table = _table(f"{pair.second} − {pair.first} on the same pictures, with 95 % intervals")
    table.add_column("metric", no_wrap=True)
    table.add_column("difference", justify="right", no_wrap=True)
    table.add_column(f"{pair.second} is", min_width=len("not told apart"))
    for row in pair.differences:
        change = signed(row.difference) + _interval(row.low, row.high, signed)
        verdict = f"[{_COLOURS[row.verdict]}]{row.verdict}[/]" + (f"\n[dim]{row.caution}[/]" if row.caution else "")
        table.add_row(escape(row.metric), change, verdict)
    return table


def _interval(low: float, high: float, written: Callable[[float], str]) -> str:
    """On a line of its own."""
    return f"\n[dim]{NO_INTERVAL if np.isnan(low) else f'{written(low)} … {written(high)}'}[/]"


def _table(title: str) -> Table:
    """Without lines between the columns: the longest metric, a difference and a verdict fill 80 columns."""
    return Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )


def _no_formula(text: object) -> object:
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA_STARTS) else text
