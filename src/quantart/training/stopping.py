"""What stops a training early: SIGTERM and SIGINT, memory that runs out, another process that ended."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from quantart.components.distributed import world_size
from quantart.errors import StoppedBySignal, UserError

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


class Interrupt:
    """Remembers the first SIGTERM or SIGINT inside the block, for a checkpoint to be written; a second acts at once."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._before: dict[int, Any] = {}

    @property
    def requested(self) -> bool:
        return self._signum is not None

    def request(self) -> None:
        """Stop as if SIGTERM had come, unless a signal already came."""
        self._signum = self._signum or signal.SIGTERM

    def stop_if_requested(self, step: int) -> None:
        if self._signum is not None:
            raise StoppedBySignal(
                self._signum,
                f"a checkpoint was written after step {step}; run the same command again to resume from it",
            )

    def __enter__(self) -> Interrupt:
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        self._before.clear()

    def _note(self, signum: int, frame: object) -> None:
        self._signum = signum
        self.__exit__()


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
