"""What the pipeline has made and where to look: the last lines of `make run`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.table import Table

from quantart.project import Project
from quantart.registry.versions import read_registered
from quantart.tracking.store import configure
from quantart.tracking.ui import runs_page
from quantart.vocabulary.names import VARIANTS


def print_summary(project: Project, console: Console | None = None) -> None:
    """Print the held-out metrics and the places of pictures, runs and the registered model."""
    console = console or Console()
    measured = project.reports / "metrics.json"
    if not measured.is_file():
        console.print("Nothing evaluated yet: run [bold]make run[/] or [bold]dvc repro[/].")
        return
    configure(project.root)
    console.print(_table(json.loads(measured.read_text(encoding="utf8"))))
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


def _table(metrics: dict[str, Any]) -> Table:
    variants = [variant for variant in VARIANTS if variant in metrics]
    table = Table(title="Held-out pairs")
    table.add_column("metric")
    for variant in variants:
        table.add_column(variant, justify="right")
    for name in [name for name, value in metrics[variants[0]].items() if isinstance(value, float)]:
        values = (metrics[variant].get(name) for variant in variants)
        table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in values))
    return table
