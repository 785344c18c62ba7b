"""Pairs of a content and a style picture: partners by name, and held-out pairs kept in a file.

The file is a CSV table, `content, content_sha256, style, style_sha256`: the names in the prepared folders' indices and
the digests of the original files. So a pair always means the same two pictures, or it is refused.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

from quantart.data.files import pair_name
from quantart.data.pictures import PackedPictures, write_table
from quantart.errors import UserError

Pairs = list[tuple[int, int]]
COLUMNS = ["content", "content_sha256", "style", "style_sha256"]
PAIR_AGAIN = "run `quantart pair` again"


def partners(contents: Sequence[str], styles: Sequence[str]) -> Pairs:
    """Indices `(content, style)` of the files that share a name (see `pair_name`), in the order of `contents`."""
    style_of = {pair_name(file): index for index, file in enumerate(styles)}
    names = [pair_name(file) for file in contents]
    return [(index, style_of[name]) for index, name in enumerate(names) if name in style_of]


def name_number(file: str) -> int:
    """A number in [0, 2⁶⁴) that partners alone share: the seed of what is drawn for both of them alike."""
    return int.from_bytes(hashlib.sha256(pair_name(file).encode()).digest()[:8], "big")


def write_pairs(path: Path, contents: PackedPictures, styles: PackedPictures, pairs: Pairs) -> None:
    rows = [(contents.files[c], contents.sha256[c], styles.files[s], styles.sha256[s]) for c, s in pairs]
    write_table(path, COLUMNS, rows)


def read_pairs(path: Path, contents: PackedPictures, styles: PackedPictures) -> Pairs:
    """The file's pairs as indices; UserError where it is missing or damaged, or a split lacks one of its pictures."""
    try:
        with path.open(encoding="utf8", newline="") as file:
            header, *rows = csv.reader(file)
    except FileNotFoundError:
        raise UserError(f"{path}: not found", "run `quantart pair` first") from None
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read ({error})", PAIR_AGAIN) from None
    if header != COLUMNS or not rows or any(len(row) != len(COLUMNS) for row in rows):
        raise UserError(f"{path}: no table of pairs", PAIR_AGAIN)
    content = {key: index for index, key in enumerate(zip(contents.files, contents.sha256, strict=True))}
    style = {key: index for index, key in enumerate(zip(styles.files, styles.sha256, strict=True))}
    try:
        return [(content[row[0], row[1]], style[row[2], row[3]]) for row in rows]
    except KeyError as error:
        file, sha256 = error.args[0]
        fault = f"{path}: names {file!r} (sha256 {sha256[:12]}…), which is not among the prepared pictures"
        raise UserError(fault, PAIR_AGAIN) from None
