"""What stops a training early: memory that runs out, another process that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from quantart.components.distributed import world_size
from quantart.errors import UserError

# in plain RuntimeErrors of PyTorch's CPU allocator, CUDA, its libraries and C++
OUT_OF_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "out of memory",
    "ALLOC_FAILED",
    "std::bad_alloc",
    "Cannot allocate memory",
)
GLOO = "gloo/"  # errors between processes on CPUs are plain RuntimeErrors that name a source file of gloo


@contextmanager
def memory_advice(doing: str, lower: str, advice: Callable[[], str]) -> Iterator[None]:
    """Raise UserError where memory runs out in the block.

    Args:
        doing: what needs it, with its size: `a training step with stage2.train.batch_size 8`.
        lower: the parameters that reduce it.
        advice: returns what to do once there is memory.
    """
    try:
        yield
    except (MemoryError, RuntimeError, OSError) as error:
        known = isinstance(error, (MemoryError, torch.OutOfMemoryError))  # NumPy's error is a MemoryError too
        if not known and not any(words in str(error) for words in OUT_OF_MEMORY):
            raise
        asked = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"out of memory in {doing} ({asked})",
            f"lower {lower} in params.yaml, which starts this stage afresh, or free memory and {advice()}",
        ) from None


@contextmanager
def lost_process(advice: Callable[[], str]) -> Iterator[None]:
    """Raise UserError, with the remedy `advice()`, where another process ended and so broke the connection to it."""
    try:
        yield
    except RuntimeError as error:
        if world_size() == 1 or not (isinstance(error, dist.DistError) or GLOO in str(error)):
            raise
        raise UserError(f"another of the {world_size()} processes ended, so this one stops", advice()) from None
