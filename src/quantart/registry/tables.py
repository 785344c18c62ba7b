"""The model registry on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from quantart.evaluation.estimates import Estimate
from quantart.params.evaluation import PromoteParams
from quantart.registry.card import unjudged
from quantart.registry.promotion import history
from quantart.registry.versions import JUDGED_BY, JUDGED_ON, Evaluation, Registry, Version
from quantart.reporting.words import number
from quantart.tracking.lineage import UPSTREAM
from quantart.vocabulary.metrics import FEW_HEADLINES
from quantart.vocabulary.names import VARIANTS

_MOST_HEADLINES = 3  # what 80 columns have room for
_SHOWN_TAGS = ("git.", "dvc.", UPSTREAM, JUDGED_BY, JUDGED_ON)
_SHORT = 8  # characters of a run's id or a digest
_MOVES = 5


def print_versions(registry: Registry, console: Console) -> None:
    """A row for each version, the newest first, then the latest moves of `champion`."""
    versions = registry.versions()
    if not versions:
        console.print(f"{registry.name} has no version; `quantart export` makes one", soft_wrap=True)
        return
    headlines = _headlines(versions)
    console.print(_versions(versions, headlines))
    if headlines:
        console.print(f"\n{', '.join(headlines)}; `quantart registry show` has all", highlight=False)
    if moves := history(registry.model):
        console.print("\nchampion, the latest first")
    for each in reversed(moves[-_MOVES:]):
        console.print(f"  {each}", highlight=False, soft_wrap=True)


def print_version(registry: Registry, version: Version, gates: PromoteParams, console: Console) -> None:
    """What a version is, where it comes from, what was measured of it, and when it was champion."""
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
        console.print(f"{version.evaluation.n} pairs, data {_short(version.evaluation.digest)}", highlight=False)
        if version.variant in VARIANTS:
            others = [each for each in VARIANTS if each != version.variant and f"run.{each}" in version.tags]
            console.print(unjudged(version.variant, others), highlight=False)
        console.print()
        console.print(_metrics(version.evaluation, gates))
        console.print()
    elif version.run_name:
        console.print(f"not evaluated: {version.evaluate}", highlight=False, soft_wrap=True)
    for each in history(registry.model):
        if version.number in {each.version, each.before}:
            console.print(str(each), highlight=False, soft_wrap=True)


def _headlines(versions: Sequence[Version]) -> list[str]:
    """The metrics to list, at most one of each kind: those of the newest version that was evaluated."""
    newest = next((version.evaluation for version in versions if version.evaluation), None)
    measured = sorted(newest.measured) if newest else []
    found = [next((name for name in measured if name.startswith(head)), None) for head in FEW_HEADLINES]
    return [name for name in found if name][:_MOST_HEADLINES]


def _versions(versions: Sequence[Version], headlines: Sequence[str]) -> Table:
    """Two lines for each version, so that they fit into 80 columns; what has no room is cut, never folded."""
    table = Table(box=None, pad_edge=False)
    for name in ("version", "created\n(UTC)", "run"):
        table.add_column(name, no_wrap=True)
    for name in (*(name.partition("_")[0] for name in headlines), "pairs,\ndata"):
        table.add_column(name, justify="right", no_wrap=True)
    for version in versions:
        evaluation = version.evaluation
        measured = evaluation.measured if evaluation else {}
        table.add_row(
            "\n".join((version.number, *version.aliases)),
            f"{version.created:%Y-%m-%d\n%H:%M}",
            escape(f"{version.variant or '–'}\n{version.run_id[:_SHORT] if version.run_name else 'gone'}"),
            *(_with_half_width(measured[name]) if name in measured else "–" for name in headlines),
            f"{evaluation.n}\n{_short(evaluation.digest)}" if evaluation else "–",
        )
    return table


def _metrics(evaluation: Evaluation, gates: PromoteParams) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("metric", no_wrap=True)
    for name in ("value", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("limit")
    verdicts = {
        limit.metric: f"{'passes' if limit.holds(each.value) else 'FAILS'}{str(limit).removeprefix(limit.metric)}"
        for limit in gates.parsed_limits
        if (each := evaluation.measured.get(limit.metric))
    }
    for name, each in evaluation.measured.items():
        interval = f"{number(each.low, 3)} to {number(each.high, 3)}" if each.has_interval else "none"
        table.add_row(name, f"{each.value:.4g}", interval, verdicts.get(name, ""))
    return table


def _short(digest: str | None) -> str:
    return digest[:_SHORT] if digest else "–"


def _with_half_width(measured: Estimate) -> str:
    value = number(measured.value, 3)
    return f"{value}\n± {(measured.high - measured.low) / 2:.2g}" if measured.has_interval else value
