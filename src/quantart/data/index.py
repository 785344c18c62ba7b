"""The index of a prepared folder: where each picture is in the packed file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, cast

from quantart.errors import UserError
from quantart.vocabulary.names import Split

PIXELS_FILE = "pictures.bin"
INDEX_FILE = "index.csv"
REPORT_FILE = "report.json"
PREPARE_AGAIN = "run `quantart prepare` again"


class IndexRow(NamedTuple):
    """One packed picture: sizes in pixels, `offset` in bytes from the start of the packed file."""

    file: str
    sha256: str
    split: Split
    height: int
    width: int
    offset: int

    @property
    def bytes(self) -> int:
        return self.height * self.width * 3


def write_index(folder: Path, rows: Iterable[IndexRow]) -> None:
    write_table(folder / INDEX_FILE, IndexRow._fields, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Write a CSV file; text is quoted, so that every file name can be read back."""
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(columns)
        writer.writerows(rows)


def read_index(folder: Path) -> list[IndexRow]:
    """Read `index.csv`; UserError where the folder was not prepared, or the packed file's size does not fit it."""
    path = folder / INDEX_FILE
    try:
        with path.open(encoding="utf8", newline="") as table:
            header, *lines = csv.reader(table)
        rows = [
            IndexRow(file, sha256, cast(Split, split), int(height), int(width), int(offset))
            for file, sha256, split, height, width, offset in lines
        ]
    except FileNotFoundError:
        raise UserError(f"{folder}: no prepared pictures here", "run `quantart prepare` first") from None
    except (ValueError, csv.Error):
        raise UserError(f"{path}: damaged", PREPARE_AGAIN) from None
    if tuple(header) != IndexRow._fields or not rows:
        raise UserError(f"{path}: no index of prepared pictures", PREPARE_AGAIN)
    pixels, expected = folder / PIXELS_FILE, sum(row.bytes for row in rows)
    actual = pixels.stat().st_size if pixels.is_file() else 0
    if actual != expected:
        raise UserError(f"{pixels}: has {actual} bytes instead of {expected}", PREPARE_AGAIN)
    return rows
