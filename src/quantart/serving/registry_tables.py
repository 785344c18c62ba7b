"""The model registry on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantart.evaluation.logged import Measured
from quantart.evaluation.names import FEW_HEADLINES
from quantart.params import PromoteParams
from quantart.serving.champion import history
from quantart.serving.registry import JUDGED_BY, Evaluation, Registry, Version
from quantart.tracking.labels import UPSTREAM

_SHOWN_TAGS = ("git.", "dvc.", UPSTREAM, JUDGED_BY)
_SHORT = 8  # characters of a run's id or a digest
_MOVES = 5


def print_versions(registry: Registry, console: Console | None = None) -> None:
    """A row for each version, the newest first, then the last moves of `champion`."""
    console = console or Console()
    versions = registry.versions()
    if not versions:
        console.print(f"{registry.name} has no version; `quantart export` makes one", soft_wrap=True)
        return
    console.print(_versions(versions))
    moves = history(registry.model)
    if moves:
        console.print("\nchampion, the latest first")
    for each in reversed(moves[-_MOVES:]):
        console.print(f"  {each}", highlight=False, soft_wrap=True)


def print_version(registry: Registry, version: Version, gates: PromoteParams, console: Console | None = None) -> None:
    """What a version is, where it comes from, what was measured of it, and when it was champion."""
    console = console or Console()
    facts = {
        "version": f"{version.name} {version.number}",
        "aliases": ", ".join(version.aliases) or "–",
        "created": f"{version.created:%Y-%m-%d %H:%M:%S} UTC",
        "variant": version.variant or "–",
        "run": f"{version.run_name or 'not in the store'} {version.run_id}",
        **{key: value for key, value in sorted(version.tags.items()) if key.startswith(_SHOWN_TAGS)},
    }
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"[bold]{name:<{width}}[/]  {escape(value)}", highlight=False, soft_wrap=True)
    console.print()
    if version.evaluation:
        console.print(_metrics(version.evaluation, gates))
    elif version.run_name:
        console.print(f"not evaluated: quantart evaluate --run-id {version.run_id}", highlight=False, soft_wrap=True)
    for each in history(registry.model):
        if version.number in {each.version, each.before}:
            console.print(str(each), highlight=False, soft_wrap=True)


def _versions(versions: Sequence[Version]) -> Table:
    measured = [name for version in versions if version.evaluation for name in version.evaluation.measured]
    headlines = [name for head in FEW_HEADLINES for name in sorted(set(measured)) if name.startswith(head)]
    table = Table(box=None, pad_edge=False)
    for name in ("version", "aliases", "created\n(UTC)", "variant", "run"):
        table.add_column(name, overflow="fold")
    for name in (*headlines, "n"):
        table.add_column(name.replace("_", "\n", 1), justify="right", overflow="fold")
    table.add_column("data", overflow="fold")
    for version in versions:
        table.add_row(*_cells(version, headlines))
    return table


def _cells(version: Version, headlines: Sequence[str]) -> list[str]:
    evaluation = version.evaluation
    measured = evaluation.measured if evaluation else {}
    return [
        version.number,
        "\n".join(version.aliases),
        f"{version.created:%Y-%m-%d\n%H:%M}",
        version.variant,
        escape(f"{version.run_name or 'gone'}\n{version.run_id[:_SHORT]}"),
        *(_half(measured[name]) if name in measured else "–" for name in headlines),
        str(evaluation.n) if evaluation else "–",
        _short(evaluation.digest) if evaluation else "–",
    ]


def _metrics(evaluation: Evaluation, gates: PromoteParams) -> Table:
    table = Table(title=f"{evaluation.n} pairs, data {_short(evaluation.digest)}")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval", justify="right")
    table.add_column("limit")
    limits = {limit.metric: limit for limit in gates.parsed_limits}
    for name, each in evaluation.measured.items():
        interval = f"{each.low:.4g} to {each.high:.4g}" if each.has_interval else "none"
        limit = limits.get(name)
        verdict = (
            ""
            if limit is None
            else f"{'passes' if limit.holds(each.value) else 'FAILS'} {str(limit).partition(' ')[2]}"
        )
        table.add_row(name, f"{each.value:.4g}", interval, verdict)
    return table


def _short(digest: str | None) -> str:
    return digest[:_SHORT] if digest else "–"


def _half(measured: Measured) -> str:
    plain = f"{measured.value:.3g}"
    return f"{plain} ± {(measured.high - measured.low) / 2:.2g}" if measured.has_interval else plain
