"""Finding the pictures of a domain."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from quantart.errors import UserError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")

# a spreadsheet takes a cell that begins so for a formula
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def find_pictures(folder: Path) -> list[Path]:
    """All files under `folder` whose names end as pictures' do, sorted by their path relative to it.

    Hidden files and folders are skipped. Links to folders are followed, each folder once. Whether a file is a picture
    indeed is for `images.decode_image` to say.

    Raises:
        UserError: no such folder, one that can't be listed, or no picture in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.is_file() else "there is no such folder"
        raise UserError(f"{folder}: {what}; give a folder of pictures")
    files = list(_walk(folder))
    pictures = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not pictures:
        raise UserError(
            f"{folder}: no picture in this folder or below it ({len(files)} other files; "
            f"pictures end in {', '.join(EXTENSIONS)})"
        )
    return sorted(pictures, key=lambda path: path.relative_to(folder).as_posix())


def table_name(path: Path, folder: Path) -> str:
    """The relative path as it is written into tables: valid UTF-8 and no formula, but still a path."""
    name = path.relative_to(folder).as_posix().encode("utf8", "backslashreplace").decode("utf8")
    return f"./{name}" if name.startswith(_FORMULA_STARTS) else name


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
