"""The files of a folder, links followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from quantart.errors import UserError


def walk(folder: Path, without: Path | None = None) -> Iterator[Path]:
    """Files of a folder. Hidden files and folders are skipped; links to folders are followed, each folder once.

    Args:
        without: a folder to leave out, whatever leads to it; it need not exist.
    """
    seen = {_identity(without)} if without and without.is_dir() else set()
    for root, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        if (identity := _identity(root)) in seen:  # a link back up, or a second one to the same folder
            folders.clear()
            continue
        seen.add(identity)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(root, name) for name in files if not name.startswith("."))


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _refuse(error: OSError) -> None:
    raise UserError(f"{error.filename}: cannot be listed: {error.strerror}") from error
