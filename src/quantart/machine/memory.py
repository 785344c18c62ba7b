"""How the C library keeps memory that is free again."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD = -3
_LARGE = 4 * 2**20


def keep_no_large_blocks() -> None:
    """From now on the process gives tensors of 4 MB and more back to the operating system as soon as they are freed.

    glibc does so from 128 KB on at first, but raises that by itself to 32 MB; then results that are kept lie between
    the tensors of their batch, and the next batch does not fit into the gaps: evaluation grew by 6 MB for each pair of
    which it keeps 40 KB. The price is that pages are cleared anew. Other C libraries are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # not glibc, or no C library to be found by this name
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGE)
