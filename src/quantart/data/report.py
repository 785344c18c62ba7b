"""What became of each picture of a domain: `report.json` of a prepared folder."""

from __future__ import annotations

import json
from dataclasses import dataclass

from quantart.vocabulary.names import Split

REPORT_FILE = "report.json"


@dataclass(frozen=True)
class PrepareReport:
    """What became of each picture: `found = kept + duplicates + rejected`.

    Attributes:
        found: pictures that the source names.
        kept: different usable ones.
        splits: kept pictures per split; where only one is kept, it is in every split.
        duplicates: (file, the file kept in its place).
        rejected: (file, reason).
        short_side: of every kept picture, in pixels.
        longest_side: the longest of all, in pixels.
        bytes: size of `pictures.bin`.
    """

    domain: str
    found: int
    kept: int
    splits: dict[Split, int]
    duplicates: list[tuple[str, str]]
    rejected: list[tuple[str, str]]
    short_side: int
    longest_side: int
    bytes: int

    def summary(self) -> str:
        """One line for the terminal."""
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        return (
            f"{self.domain}: {self.found} pictures found, {self.kept} kept ({splits}), "
            f"{len(self.duplicates)} duplicates, {len(self.rejected)} rejected"
        )

    def to_json(self) -> str:
        """The content of `report.json`."""
        counts = {
            "found": self.found,
            "kept": self.kept,
            "duplicates": len(self.duplicates),
            "rejected": len(self.rejected),
        }
        report = {
            "domain": self.domain,
            "counts": counts,
            "splits": self.splits,
            "sizes": {"short_side": self.short_side, "longest_side": self.longest_side, "bytes": self.bytes},
            "duplicates": [{"file": file, "same_as": kept} for file, kept in self.duplicates],
            "rejected": [{"file": file, "reason": reason} for file, reason in self.rejected],
        }
        return json.dumps(report, indent=2) + "\n"
