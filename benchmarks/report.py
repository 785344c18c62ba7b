"""The table that `make bench` writes."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cases import CASES

_HEAD = (
    "| work | against | batch | reference (s) | ours (s) | ratio | precision | floor (s) | of our time | peak (MB) |\n"
    "|---|---|---|---|---|---|---|---|---|---|"
)


def write_report(path: Path, found: list[dict[str, Any]], machine: dict[str, str]) -> None:
    """Write machine, versions, date and the table of `found` to a Markdown file; sections below it are kept."""
    _, section, kept = (path.read_text(encoding="utf8") if path.is_file() else "").partition("\n## ")
    lines = [
        "# Speed",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}; what each column means: docs/performance.md.",
        "",
        *(f"- {name}: {value}" for name, value in machine.items()),
        "",
        _HEAD,
        *(_row(figures) for figures in found),
    ]
    path.write_text("\n".join(lines) + "\n" + section + kept, encoding="utf8")


def _row(figures: dict[str, Any]) -> str:
    case = CASES[figures["name"]]
    cells = [
        case.what,
        case.against,
        str(figures["batch"]),
        f"{figures['reference_s']:.4g} ± {figures['reference_spread']:.0%}",
        f"{figures['ours_s']:.4g} ± {figures['ours_spread']:.0%}",
        f"{figures['ratio']:.2f}",
        figures["precision"],
        f"{figures['floor_s']:.4g}",
        f"{figures['of_floor']:.0%}",
        f"{figures['peak_mb']:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def write_section(path: Path, title: str, lines: list[str]) -> None:
    """Put `## title` with its lines in the place of the section of that title, or at the end."""
    head, *sections = (path.read_text(encoding="utf8") if path.is_file() else "").split("\n## ")
    kept = [section for section in sections if section.partition("\n")[0] != title]
    parts = [head.rstrip("\n"), *(section.rstrip("\n") for section in kept), "\n".join([title, "", *lines])]
    path.write_text("\n\n## ".join(parts) + "\n", encoding="utf8")
