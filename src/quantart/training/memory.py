"""Running out of memory, on a GPU or on the CPU: told from other failures and said as a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from quantart.errors import UserError

# where PyTorch raises a plain RuntimeError: its CPU allocator, CUDA itself, its libraries, C++
WORDS = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "std::bad_alloc",
    "Cannot allocate memory",
)


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):  # NumPy's error is a MemoryError too
        return True
    return isinstance(error, (RuntimeError, OSError)) and any(words in str(error) for words in WORDS)


@contextmanager
def memory_advice(doing: str, lower: str, then: Callable[[], str]) -> Iterator[None]:
    """Turn memory that has run out inside into a sentence.

    Args:
        doing: what needs it, with its size: `a training step with stage2.train.batch_size 8`.
        lower: the parameters that make it smaller.
        then: says what running again would go on from.

    Raises:
        UserError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        asked = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"out of memory in {doing}: lower {lower} in params.yaml, which starts this stage afresh, or free memory. "
            f"{then()} ({asked})"
        ) from None
