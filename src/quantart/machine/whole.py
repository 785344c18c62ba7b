"""Files and folders that are written whole or not at all: beside their place first, then renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quantart.errors import UserError

_NAME_SHOWN = 40  # a name may be as long as the file system allows already


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, in place of one that is there; the folder must exist.

    Raises:
        UserError: nothing can be written there; what was there is as it was.
    """
    beside = path.with_name(f".{path.stem[:_NAME_SHOWN]}.{os.getpid()}.partial")
    try:
        beside.write_bytes(data)
        beside.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into, which takes the place of `folder` at the end of the block.

    After an exception `folder` is as it was. What a killed run left beside it is cleared.
    """
    fresh = _cleared(folder, "partial")
    fresh.mkdir(parents=True)
    try:
        yield fresh
        old = _cleared(folder, "replaced")
        with suppress(FileNotFoundError):
            folder.rename(old)
        fresh.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _cleared(folder: Path, purpose: str) -> Path:
    path = folder.with_name(f".{folder.name}.{purpose}")
    if path.exists():
        shutil.rmtree(path)
    return path
