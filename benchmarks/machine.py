"""What the machine can do at best, measured, and the least time a piece of work takes on it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import seconds
from torch.utils.flop_counter import FlopCounterMode

from quantart.machine.device import default_device

TRIES = 5


def matrix_rate(dtype: torch.dtype) -> float:
    """Operations per second (a multiplication and an addition are two), the best of a few tries.

    Of a large matrix product or of a convolution with many channels, whichever is faster: they are different libraries.
    """
    device = default_device()
    side = 16384 if device.type == "cuda" else 2048
    a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
    x, weight = torch.randn(1, 512, 32, 32), torch.randn(512, 512, 3, 3)
    x, weight = (t.to(device, dtype, memory_format=torch.channels_last) for t in (x, weight))
    ways = (lambda: a @ b, 2 * side**3), (lambda: F.conv2d(x, weight, padding=1), 2 * 9 * 512**2 * 32**2)
    return max(ops / min(seconds(way) for _ in range(TRIES)) for way, ops in ways)


def bandwidth() -> float:
    """Bytes per second that a copy of a large array reads and writes together, the best of a few."""
    source = torch.ones(2**26, device=default_device())  # 256 MiB
    target = torch.empty_like(source)
    return 2 * source.nbytes / min(seconds(lambda: target.copy_(source)) for _ in range(TRIES))


def operations(call: Callable[[], object]) -> int:
    """Operations of matrix products, convolutions and attention in one call, backward passes included."""
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())


def floor(ops: int, least_bytes: int, dtype: torch.dtype) -> float:
    """Seconds below which no program gets: all operations at the matrix rate, or all bytes at the full bandwidth."""
    return max(ops / matrix_rate(dtype) if ops else 0.0, least_bytes / bandwidth())


def description() -> dict[str, str]:
    """Processor or GPU, cores, threads, and the versions that decide speed."""
    device = default_device()
    name = torch.cuda.get_device_name() if device.type == "cuda" else _processor()
    capability = "AMX" if torch.cpu._is_amx_tile_supported() else torch.backends.cpu.get_cpu_capability()
    return {
        "device": name,
        "cores": f"{os.cpu_count()} ({capability})",
        "threads": str(torch.get_num_threads()),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "pillow", "numpy", "accelerate")},
    }


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf8").splitlines() if table.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
