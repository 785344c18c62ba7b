"""Pictures named by a list file or a CSV table, relative to a root that they must stay in."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from quantart.data.files import PictureFile, leads_outside, table_name
from quantart.errors import UserError
from quantart.vocabulary.filters import Clause, parse_where

VALUES_SHOWN = 10


def listed_pictures(path: Path, root: Path) -> list[PictureFile]:
    """The pictures of a list: one path per line, relative to `root`; blank lines and comments (#) are skipped."""
    lines = (line.strip() for line in _read_text(path).replace("\r\n", "\n").split("\n"))
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise UserError(f"{path}: names no picture", f"write one path per line, relative to {root}")
    base = _resolved_root(root)
    return [_picture(name, base) for name in names]


def tabled_pictures(path: Path, root: Path, column: str, where: str | None) -> list[PictureFile]:
    """The pictures in the rows of a CSV table that match a filter (see `parse_where`); None: in all rows.

    A row whose number of cells differs from the header's is set aside, since its columns are uncertain.
    """
    clauses = parse_where(where) if where is not None else []
    base = _resolved_root(root)
    found: list[PictureFile] = []
    seen: dict[str, None] = {}
    for line, row, fault in _rows(path, [column, *(clause.column for clause in clauses)]):
        if fault is None and clauses:
            seen[row[clauses[0].column]] = None
        if fault is not None:
            found.append(PictureFile(table_name(row.get(column, "") or f"line {line}"), path, fault=fault))
        elif all(clause.holds(row) for clause in clauses):
            name = row[column]
            empty = PictureFile(f"line {line}", path, fault=f"no name in column {column!r}")
            found.append(_picture(name, base) if name else empty)
    if not found:
        raise _nothing_left(path, where, clauses, list(seen))
    return found


def _rows(path: Path, needed: list[str]) -> Iterator[tuple[int, dict[str, str], str | None]]:
    """Line number, cells by column and fault of each row that is not blank."""
    reader = csv.reader(io.StringIO(_read_text(path), newline=""))
    try:
        header = [cell.strip() for cell in next(reader, [])]
        if missing := [column for column in needed if column not in header]:
            raise UserError(f"{path}: no column {missing[0]!r}", f"its columns are {', '.join(header) or 'none'}")
        for cells in reader:
            if not any(cells):
                continue
            fault = None
            if len(cells) != len(header):
                fault = f"line {reader.line_num} has {len(cells)} cells where the header has {len(header)}"
            row = dict(zip(header, (cell.strip(" ") for cell in cells), strict=False))
            yield reader.line_num, row, fault
    except csv.Error as error:
        raise UserError(f"{path}: line {reader.line_num} is no CSV ({error})", "correct it, or save it again") from None


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")  # with or without a byte order mark
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})", "save it as UTF-8") from None


def _resolved_root(root: Path) -> Path:
    if not root.is_dir():
        fault = f"{root}: no such folder, though the pictures' names are relative to it"
        raise UserError(fault, "correct `root` of this source")
    return root.resolve()


def _picture(name: str, root: Path) -> PictureFile:
    path = root / name
    fault = leads_outside(name)
    if fault is None:
        try:
            inside = path.resolve().is_relative_to(root)
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
            fault = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        else:
            fault = None if inside else f"a link that leads out of {root.name}"
    return PictureFile(table_name(name if fault else PurePosixPath(name).as_posix()), path, fault=fault)


def _nothing_left(path: Path, where: str | None, clauses: list[Clause], seen: list[str]) -> UserError:
    if not seen:
        return UserError(f"{path}: has a header, but no row that names a picture")
    values = ", ".join(repr(value) for value in seen[:VALUES_SHOWN])
    more = f" and {len(seen) - VALUES_SHOWN} more" if len(seen) > VALUES_SHOWN else ""
    return UserError(f"{path}: no row where {where}", f"{clauses[0].column!r} has the values {values}{more}")
