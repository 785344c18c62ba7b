"""How the C library keeps freed memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3


def keep_no_large_blocks() -> None:
    """Have the process return tensors of 4 MB and more to the operating system as soon as they are freed.

    By default glibc raises this limit from 128 KB up to 32 MB. Results that are kept then lie between the tensors of
    their batch, and the next batch does not fit into the gaps: evaluation grew by 6 MB for each pair, of which it keeps
    40 KB. The price is that pages are cleared again.
    """
    with suppress(AttributeError, OSError, TypeError):  # not glibc, or no C library under this name
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 4 * 2**20)
