"""Two ways to do the same work, timed in turn."""

from __future__ import annotations

import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

Call = Callable[[], object]

_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes, in which the system counts the largest resident memory


def alternate(reference: Call, ours: Call, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of each call of both, A B A B, after one call of each that does not count."""
    both = (reference, ours)
    for call in both:
        seconds(call)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, own in zip(both, times, strict=True):
            own.append(seconds(call))
    return times


def seconds(call: Call) -> float:
    """What one call takes, to its end on the device."""
    _wait()
    start = time.perf_counter()
    call()
    _wait()
    return time.perf_counter() - start


def spread(times: list[float]) -> float:
    """Half the distance from the least to the largest, as a share of the median."""
    return (max(times) - min(times)) / 2 / statistics.median(times)


def peak_memory() -> int:
    """Bytes of the device that this process held at most: the GPU's, or the resident ones on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage counts what the process that started this one held, too
        line = next(line for line in status.read_text(encoding="utf8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
