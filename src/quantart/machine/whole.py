"""Write a file or folder beside its place, then rename it: a reader sees the old one or the whole new one.

A link in that place, symbolic or hard, is itself replaced; what it leads to stays as it is.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from quantart.errors import UserError

_NAME_SHOWN = 40  # the name itself may be as long as the file system allows


def write_whole(path: Path, data: bytes) -> None:
    """Write or replace a file in a folder that exists; after a UserError an earlier file is unchanged."""
    # a name that no other process or thread uses
    beside = path.with_name(f".{path.stem[:_NAME_SHOWN]}.{threading.get_native_id()}.partial")
    try:
        beside.unlink(missing_ok=True)
        with beside.open("xb") as file:  # x: never through a link
            file.write(data)
        beside.replace(path)
    except OSError as error:
        remedy = "make room on this disk" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise UserError(f"{path}: cannot be written: {error.strerror or error}", remedy) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to write into; it replaces `folder` at the end of the block, but not after an exception."""
    fresh = fresh_folder(folder)
    try:
        yield fresh
        put_in_place(folder)
    finally:
        with suppress(OSError):
            remove(fresh)


@contextmanager
def resumed_folder(folder: Path, key: str) -> Iterator[Path]:
    """As `whole_folder`, but what was written before an exception or a kill is there again for the same `key`."""
    fresh = fresh_place(folder) / key
    if fresh.parent.is_symlink() or not fresh.parent.is_dir():
        remove(fresh.parent)
    fresh.mkdir(parents=True, exist_ok=True)
    for other in fresh.parent.iterdir():
        if other != fresh:
            remove(other)
    yield fresh
    put_in_place(folder, fresh)
    with suppress(OSError):
        remove(fresh.parent)


def fresh_place(folder: Path) -> Path:
    """Where `fresh_folder` makes the folder that is to replace `folder`."""
    return folder.with_name(f".{folder.name}.partial")


def fresh_folder(folder: Path) -> Path:
    """Make an empty folder at `fresh_place(folder)`, which `put_in_place` renames to `folder`."""
    fresh = fresh_place(folder)
    remove(fresh)
    fresh.mkdir(parents=True)
    return fresh


def put_in_place(folder: Path, fresh: Path | None = None) -> None:
    """Replace `folder` by what was written to `fresh`, by default `fresh_place(folder)`."""
    old = folder.with_name(f".{folder.name}.replaced")
    remove(old)
    if os.path.lexists(folder):
        folder.rename(old)
    (fresh or fresh_place(folder)).rename(folder)
    with suppress(OSError):
        remove(old)


def remove(path: Path) -> None:
    """Remove a file, a folder with its contents or a link, not what the link leads to; nothing there is no error."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
