"""A comparison on the terminal, and as a CSV file."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantart.data.files import FORMULA_STARTS
from quantart.reporting.comparison.compare import Comparison, Difference, PairOfRuns
from quantart.reporting.words import NO_INTERVAL, UNITS, number, signed

MANY_METRICS = (
    "Each interval is 95 % for its metric alone: of twenty metrics that do not differ, one shows a difference by "
    "chance. The intervals cover the choice of pictures, not the training: another seed adds noise of its own."
)

_COLOURS = {"better": "green", "worse": "red", "not told apart": "default", "": "default"}


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the runs, differing parameters, metrics and differences, then which run is better in words."""
    console = console or Console()
    tables = [_runs(comparison)]
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
    text = table.select_dtypes(exclude="number").columns
    table[text] = table[text].map(_no_formula, na_action="ignore")
    return table.to_csv(index=False, float_format="%.9g", lineterminator="\n")


def _runs(comparison: Comparison) -> Table:
    table = _table("Runs", ["", "run", "name", "started", "measured on"])
    for letter, run in comparison.runs.items():
        about = run.record.about
        measured = f"{about.n} {UNITS[about.kind]} at {about.resolution} px"
        table.add_row(letter, run.run_id[:8], escape(run.name), f"{run.started:%Y-%m-%d %H:%M}", measured)
    return table


def _parameters(comparison: Comparison) -> Table:
    table = _table("Parameters that differ", ["parameter", *comparison.runs])
    for name, row in comparison.parameters.iterrows():
        table.add_row(escape(str(name)), *(escape(str(value)) for value in row))
    return table


def _metrics(comparison: Comparison) -> Table:
    table = _table("Metrics, with 95 % intervals")
    short = partial(number, digits=3)
    table.add_column("metric", no_wrap=True)
    for letter in comparison.runs:
        table.add_column(letter, justify="right", overflow="fold")
    for metric, found in comparison.by_metric():
        cells = [each and number(each.value) + _interval(each.low, each.high, short) for each in found]
        table.add_row(escape(metric), *cells)
    return table


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
    return f"\n[dim]{NO_INTERVAL if np.isnan(low) else f'{written(low)} … {written(high)}'}[/]"


def _table(title: str, columns: Iterable[str] = ()) -> Table:
    """Without lines between the columns: the longest metric, a difference and a verdict fill 80 columns."""
    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _no_formula(text: object) -> object:
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA_STARTS) else text
