"""Memory that the process has freed and the operating system has not got back."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable


def return_freed_memory() -> None:
    """Give freed memory back to the operating system, where the C library has a call for it (glibc); milliseconds.

    A result that is kept lies among freed tensors of a batch and keeps their pages apart, so that the next batch takes
    new ones: without this, evaluation grew by megabytes for each pair of which it keeps kilobytes.
    """
    if trim := _malloc_trim():
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (OSError, TypeError):  # no such library: Windows
        return None
