"""Finding the pictures of a domain: in a folder, a list, a table, a shard, or one file."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from quantart.data.files import SHARD, PictureFile, table_name
from quantart.data.shards import refuse_compressed, shard_pictures
from quantart.errors import UserError
from quantart.images.kinds import FORMATS, is_picture_file
from quantart.machine.names import FileNames, same_name
from quantart.machine.walk import walk
from quantart.vocabulary.filters import parse_where

if TYPE_CHECKING:
    from quantart.params.data import TableParams

LIST, TABLE = ".txt", ".csv"
FILENAME_COLUMN = "filename"
VALUES_SHOWN = 10
KINDS = f"pictures are {', '.join(FORMATS)}"
SOURCES = f"give a folder of pictures, a list ({LIST}), a table ({TABLE}), a shard ({SHARD}) or one picture; {KINDS}"


class Found(NamedTuple):
    """What is in a source, sorted by name."""

    pictures: list[PictureFile]
    passed_over: list[str]
    """Names of files in a folder or shard that are no pictures."""


def find_pictures(source: Path, table: TableParams | None = None, root: Path | None = None) -> Found:
    """All pictures of a source; only decoding shows whether one can be used.

    A name that can't or must not be followed (a path out of the root, a device in a tar) is among them, with its fault.

    Args:
        source: a folder (searched recursively, shards in it included), a list (`.txt`), a table (`.csv`), a shard
            (`.tar`) or one picture.
        table: a table's column with the names, and the filter of its rows; None: `filename` and all rows.
        root: folder that the names in a list or table are relative to; None: the one it is in.

    Raises:
        UserError: no such source, one that can't be read, or no picture in it.
    """
    names = FileNames()
    source = names.on_disk(source)
    root = names.on_disk(root or source.parent)
    kind = source.suffix.lower()
    passed_over: list[str] = []
    if source.is_dir():
        pictures = _in_folder(source, passed_over)
    else:
        refuse_compressed(source)
        if not source.is_file():
            raise UserError(f"{source}: no such folder or file", SOURCES)
        if kind == LIST:
            pictures = listed_pictures(source, root)
        elif kind == TABLE:
            column = (table and table.column) or FILENAME_COLUMN
            pictures = tabled_pictures(source, root, column, table.where if table else None)
        elif kind == SHARD:
            pictures = list(shard_pictures(source, passed_over))
        elif is_picture_file(source):
            pictures = [PictureFile(table_name(source.name), source)]
        else:
            raise UserError(f"{source}: unknown kind of file", SOURCES)
    if not pictures:
        raise UserError(f"{source}: no picture in it ({len(passed_over)} other files)", KINDS)
    return Found(sorted(pictures, key=lambda picture: picture.name), sorted(passed_over))


def _in_folder(folder: Path, passed_over: list[str]) -> list[PictureFile]:
    """Pictures of a folder and of the shards in it."""
    pictures: list[PictureFile] = []
    for path in walk(folder):
        refuse_compressed(path)
        name = path.relative_to(folder).as_posix()
        if path.suffix.lower() == SHARD:
            pictures.extend(shard_pictures(path, passed_over, f"{name}/"))
        elif is_picture_file(path):
            pictures.append(PictureFile(table_name(name), path))
        else:
            passed_over.append(table_name(name))
    return pictures


def listed_pictures(path: Path, root: Path) -> list[PictureFile]:
    """The pictures of a list: one path per line, relative to `root`; blank lines and comments (#) are skipped."""
    lines = (line.strip() for line in _read_text(path).replace("\r\n", "\n").split("\n"))
    names = [line for line in lines if line and not line.startswith("#")]
    if not names:
        raise UserError(f"{path}: names no picture", f"write one path per line, relative to {root}")
    place = _Root(root)
    return [place.picture(name) for name in names]


def tabled_pictures(path: Path, root: Path, column: str, where: str | None) -> list[PictureFile]:
    """The pictures in the rows of a CSV table that match a filter (see `parse_where`); None: in all rows.

    A row whose number of cells differs from the header's is set aside, since its columns are uncertain.
    """
    clauses = parse_where(where) if where is not None else []
    column, place = same_name(column), _Root(root)
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
            found.append(place.picture(name) if name else empty)
    if not found and not seen:
        raise UserError(f"{path}: has a header, but no row that names a picture")
    if not found:
        values = ", ".join(repr(value) for value in list(seen)[:VALUES_SHOWN])
        more = f" and {len(seen) - VALUES_SHOWN} more" if len(seen) > VALUES_SHOWN else ""
        raise UserError(f"{path}: no row where {where}", f"{clauses[0].column!r} has the values {values}{more}")
    return found


def _rows(path: Path, needed: list[str]) -> Iterator[tuple[int, dict[str, str], str | None]]:
    """Line number, cells by column and fault of each row that is not blank."""
    text = _read_text(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)  # spreadsheets write what their language asks for
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = [same_name(cell.strip()) for cell in next(reader, [])]
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


class _Root:
    """The folder that the names in a list or table are relative to. What a name leads to must be inside it.

    As for a folder of pictures, links in it are followed wherever they lead: the user named it. A name may be absolute,
    or go up and down again.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            fault = f"{root}: no such folder, though the pictures' names are relative to it"
            raise UserError(fault, "correct `root` of this source")
        self._root = Path(os.path.abspath(root))
        self._resolved = root.resolve()
        self._names = FileNames()

    def picture(self, name: str) -> PictureFile:
        try:
            path = self._names.on_disk(self._root / name)
            below = self._below(Path(os.path.normpath(path))) or self._below(path.resolve())
        except UserError as error:
            return PictureFile(table_name(name), self._root, fault=f"{error.fault}; {error.remedy}")
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name, links in a circle
            fault = f"cannot be read: {getattr(error, 'strerror', None) or error}"
            return PictureFile(table_name(name), self._root, fault=fault)
        if below is None:
            fault = f"leads out of {self._root.name or self._root}; set `root` to a folder that it is in"
            return PictureFile(table_name(name), self._root, fault=fault)
        written = PurePosixPath(name)
        plain = not written.is_absolute() and ".." not in written.parts
        return PictureFile(table_name((written if plain else below).as_posix()), self._root / below)

    def _below(self, path: Path) -> Path | None:
        """The path relative to the root, which may itself be a link."""
        roots = (root for root in (self._root, self._resolved) if path.is_relative_to(root))
        return next((path.relative_to(root) for root in roots), None)
