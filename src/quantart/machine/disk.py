"""A disk that is full, told from other failures and said with what needed how much."""

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
# safetensors, SQLite and what MLflow makes of it have errors of their own for it, with no `errno`
WORDS = ("No space left on device", "database or disk is full", *(f"os error {number}" for number in FULL))


def is_disk_full(error: BaseException) -> bool:
    """Whether a failure, or one that it came from, means that a disk or a quota is full."""
    if isinstance(error, OSError) and error.errno in FULL:
        return True
    return any(words in line for line in traceback.format_exception(error) for words in WORDS)


@contextmanager
def writing(what: str, size: int, folder: Path, then: Callable[[], str]) -> Iterator[None]:
    """Turn a disk that is full, or can't be written to, into a sentence.

    Args:
        what: is written inside, e.g. `the checkpoint of step 500`.
        size: bytes it needs, about.
        folder: that it is written to.
        then: says what is safe and what to do now.

    Raises:
        UserError: it could not be written.
    """
    try:
        with room_for(what, size, folder, then):
            yield
    except (OSError, SafetensorError) as error:
        raise UserError(f"{what} could not be written to {folder} ({error}). {then()}") from error


@contextmanager
def room_for(what: str, size: int, folder: Path, then: Callable[[], str]) -> Iterator[None]:
    """As `writing`, of work that does other things too: only a full disk becomes a sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        # SQLite calls it many names
        if not is_disk_full(error) and free_bytes(folder) > 2**16:
            raise
        if said := _said_before(error):
            raise said from None
        raise UserError(
            f"{what} needs about {megabytes(size)} in {folder}, where {megabytes(free_bytes(folder))} are free: make "
            f"room. {then()}"
        ) from error


def _said_before(error: BaseException) -> UserError | None:
    """The sentence on whose way out the disk was found full once more."""
    before = error.__context__
    while before is not None and not isinstance(before, UserError):
        before = before.__context__
    return before


def free_bytes(folder: Path) -> int:
    """Bytes free for files in `folder`, or in the nearest folder above it that is there."""
    there = next(each for each in (folder, *folder.absolute().parents) if each.exists())
    return shutil.disk_usage(there).free


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"
