"""Finding the pictures of a domain: in a folder, a list, a table, a shard, or one file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from quantart.data.files import SHARD, PictureFile, table_name
from quantart.data.lists import listed_pictures, tabled_pictures
from quantart.data.shards import refuse_compressed, shard_pictures
from quantart.errors import UserError
from quantart.vocabulary.pictures import EXTENSIONS, is_picture

if TYPE_CHECKING:
    from quantart.params.data import TableParams

LIST, TABLE = ".txt", ".csv"
FILENAME_COLUMN = "filename"
SOURCES = (
    f"give a folder of pictures, a list ({LIST}), a table ({TABLE}), a shard ({SHARD}) or one picture "
    f"({', '.join(EXTENSIONS)})"
)


def find_pictures(source: Path, table: TableParams | None = None, root: Path | None = None) -> list[PictureFile]:
    """All pictures of a source, sorted by their names in it.

    They are found by name; only decoding shows whether a file really is a picture. A name that can't or must not be
    followed (a path out of the root, a link in a tar) is among them, with its fault.

    Args:
        source: a folder (searched recursively, shards in it included), a list (`.txt`), a table (`.csv`), a shard
            (`.tar`) or one picture.
        table: a table's column with the names, and the filter of its rows; None: `filename` and all rows.
        root: folder that the names in a list or table are relative to; None: the one it is in.

    Raises:
        UserError: no such source, one that can't be read, or no picture in it.
    """
    root = root or source.parent
    kind = source.suffix.lower()
    if source.is_dir():
        pictures = _in_folder(source)
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
            pictures = list(shard_pictures(source))
        elif is_picture(source.name):
            pictures = [PictureFile(table_name(source.name), source)]
        else:
            raise UserError(f"{source}: unknown kind of file", SOURCES)
        if not pictures:
            raise UserError(f"{source}: no picture in it", f"pictures end in {', '.join(EXTENSIONS)}")
    return sorted(pictures, key=lambda picture: picture.name)


def _in_folder(folder: Path) -> list[PictureFile]:
    """Pictures of a folder. Hidden files and folders are skipped; links to folders are followed, each folder once."""
    files = list(_walk(folder))
    pictures: list[PictureFile] = []
    for path in files:
        refuse_compressed(path)
        name = path.relative_to(folder).as_posix()
        if is_picture(path.name):
            pictures.append(PictureFile(table_name(name), path))
        elif path.suffix.lower() == SHARD:
            pictures.extend(shard_pictures(path, f"{name}/"))
    if not pictures:
        raise UserError(
            f"{folder}: no picture in this folder or below it ({len(files)} other files)",
            f"pictures end in {', '.join(EXTENSIONS)}",
        )
    return pictures


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:  # a link back up, or a second one to the same folder
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in files if not name.startswith("."))


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed: {error.strerror}") from error
