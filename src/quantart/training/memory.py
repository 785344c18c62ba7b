"""Report that memory ran out, on a GPU or on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from quantart.errors import UserError

# of plain RuntimeErrors by PyTorch's CPU allocator, CUDA, its libraries and C++
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
def memory_advice(doing: str, lower: str, advice: Callable[[], str]) -> Iterator[None]:
    """Report memory that runs out in the block.

    Args:
        doing: what needs it, with its size: `a training step with stage2.train.batch_size 8`.
        lower: the parameters that reduce it.
        advice: returns what to do once there is memory.

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
            f"out of memory in {doing} ({asked})",
            f"lower {lower} in params.yaml, which starts this stage afresh, or free memory and {advice()}",
        ) from None
