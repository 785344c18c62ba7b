"""Report a disk that is full or can't be written to: what needed how much room, and what to do now."""

from __future__ import annotations

import errno
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from quantart.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
# safetensors and SQLite, also through MLflow, raise errors of their own without an `errno`
WORDS = ("No space left on device", "database or disk is full", *(f"os error {number}" for number in FULL))


def check_writable(folder: Path) -> None:
    """Raise UserError where no file can be made in `folder`, or in its nearest parent that exists."""
    there = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        fault = f"{there}: no file can be made in it ({error.strerror or error})"
        raise UserError(fault, "make it writable for this user, or move the project to a folder that is") from None


@contextmanager
def writing(what: str, size: int, folder: Path, advice: Callable[[], str]) -> Iterator[None]:
    """Report a disk that is full or can't be written to.

    Args:
        what: is written in the block, e.g. `the checkpoint of step 500`.
        size: bytes it needs, about.
        advice: returns what to do once the disk can be written to.
    """
    try:
        with room_for(what, size, folder, advice):
            yield
    except (OSError, SafetensorError) as error:
        raise UserError(f"{what} could not be written to {folder} ({error})", advice()) from error


@contextmanager
def room_for(what: str, size: int, folder: Path, advice: Callable[[], str]) -> Iterator[None]:
    """As `writing`, for a block that also does other things: only a full disk is reported."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        free = shutil.disk_usage(_existing(folder)).free
        if not _is_disk_full(error) and free > 2**16:  # SQLite has many names for a full disk
            raise
        before = error.__context__
        while before is not None:
            if isinstance(before, UserError):  # raised already, and the disk was still full while it was handled
                raise before from None
            before = before.__context__
        raise UserError(
            f"{what} needs about {size / 1e6:.1f} MB in {folder}, where {free / 1e6:.1f} MB are free",
            f"make room, then {advice()}",
        ) from error


def _is_disk_full(error: Exception) -> bool:
    """Whether a failure, or one that caused it, means that a disk or a quota is full."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(words in line for line in traceback.format_exception(error) for words in WORDS)


def _existing(folder: Path) -> Path:
    """The folder, or its nearest parent that exists."""
    return next(each for each in (folder, *folder.absolute().parents) if each.exists())
