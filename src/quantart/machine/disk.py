"""Report a full disk: what needed how much room, and what to do now."""

from __future__ import annotations

import errno
import shutil
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from quantart.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
# safetensors and SQLite, also through MLflow, raise errors of their own without an `errno`
WORDS = ("No space left on device", "database or disk is full", *(f"os error {number}" for number in FULL))


def is_disk_full(error: BaseException) -> bool:
    """Whether a failure, or one that caused it, means that a disk or a quota is full."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(words in line for line in traceback.format_exception(error) for words in WORDS)


@contextmanager
def writing(what: str, size: int, folder: Path, advice: Callable[[], str]) -> Iterator[None]:
    """Report a disk that is full or can't be written to.

    Args:
        what: is written in the block, e.g. `the checkpoint of step 500`.
        size: bytes it needs, about.
        folder: it is written to.
        advice: returns what to do once the disk can be written to.

    Raises:
        UserError: it could not be written.
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
        # SQLite has many names for it
        if not is_disk_full(error) and free_bytes(folder) > 2**16:
            raise
        if reported := _reported_before(error):
            raise reported from None
        raise UserError(
            f"{what} needs about {megabytes(size)} in {folder}, where {megabytes(free_bytes(folder))} are free",
            f"make room, then {advice()}",
        ) from error


def _reported_before(error: BaseException) -> UserError | None:
    """The UserError during whose handling this error was raised: the disk is then still full."""
    before = error.__context__
    while before is not None and not isinstance(before, UserError):
        before = before.__context__
    return before


def free_bytes(folder: Path) -> int:
    """Bytes free for files in `folder`, or in its nearest parent that exists."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
