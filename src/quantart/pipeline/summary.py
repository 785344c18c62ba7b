"""What the pipeline has made and where to look: the last lines of `make run`."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table

from quantart.evaluation.estimates import estimates_of
from quantart.project import Project
from quantart.registry.versions import read_registered
from quantart.reporting.painting import RULE, paints_or_tints
from quantart.tracking.store import configure
from quantart.tracking.ui import runs_page
from quantart.vocabulary.methods import COLOUR_MATCHED, MODEL
from quantart.vocabulary.metrics import FEW_HEADLINES
from quantart.vocabulary.names import VARIANTS


def print_summary(project: Project, console: Console | None = None) -> None:
    """Print the held-out metrics and the places of pictures, runs and the registered model."""
    console = console or Console()
    measured = project.reports / "summary.csv"
    if not measured.is_file():
        console.print("Nothing evaluated yet: run [bold]dvc repro[/].")
        return
    configure(project.root)
    _print_headlines(pd.read_csv(measured), console)
    registered = read_registered(project)
    grids = sorted((project.reports / "grids").glob("*.png"))
    places = {
        "pictures": "  ".join(str(path.relative_to(project.root)) for path in grids),
        "in words": str((project.reports / "summary.md").relative_to(project.root)),
        "runs": f"quantart ui, then {runs_page()}",
        "plots": "dvc plots show",
    }
    if registered:
        places["registered"] = registered.uri
        places["serve it"] = "quantart serve"
    places["stylise one"] = "quantart stylize PHOTO --style PAINTING --out OUT.png"
    for name, place in places.items():
        console.print(f"[bold]{name:<12}[/] {place}", highlight=False, soft_wrap=True)


def _print_headlines(summary: pd.DataFrame, console: Console) -> None:
    """The few headline metrics of each variant with their intervals, then whether it paints or tints."""
    estimates = {key: estimates_of(rows) for key, rows in summary.groupby(["variant", "method"])}
    variants = [variant for variant in VARIANTS if (variant, MODEL) in estimates]
    models = [estimates[variant, MODEL] for variant in variants]
    table = Table(title="Held-out pairs: distance and its 95 % interval")
    table.add_column("metric")
    for variant in variants:
        table.add_column(variant, justify="right")
    for name in [name for name in models[0] if name.startswith(FEW_HEADLINES)]:
        table.add_row(name, *(str(found[name]) if name in found else "–" for found in models))
    console.print(table)
    for variant, found in zip(variants, models, strict=True):
        console.print(f"{variant} {paints_or_tints(found, estimates[variant, COLOUR_MATCHED])}")
    console.print(RULE, style="dim", soft_wrap=True)
