"""Cores, devices, half precision, memory and disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil
import torch

from quantart.doctor.row import Row, fails, ok, warning
from quantart.machine.device import default_device, default_precision, precision
from quantart.training.launch import processes_wanted

GB = 1e9
# Training the default's base was seen to take 1.24 GB; the default's files, with DVC's cache and MLflow's, 0.27 GB.
MEMORY_NEEDED, MEMORY_WANTED = 1.5 * GB, 4 * GB
DISK_NEEDED, DISK_WANTED = 0.5 * GB, 5 * GB
CGROUP = Path("/sys/fs/cgroup")
TENSOR_CORES = (7, 0)  # compute capability of the first GPUs that have them


def check_threads(root: Path | None) -> Row:
    cores, threads = _cores(), torch.get_num_threads()
    processes = processes_wanted()
    found = f"{threads} threads on {cores} cores" + (f", {processes} processes" if processes > 1 else "")
    asked = os.environ.get("OMP_NUM_THREADS")
    if threads * processes < cores and asked:
        return warning("threads", f"{found} (OMP_NUM_THREADS={asked})", "unset OMP_NUM_THREADS to use all cores")
    if threads * processes > cores:
        return warning("threads", found, f"set OMP_NUM_THREADS={max(1, cores // processes)}: more slow each other down")
    return ok("threads", found)


def check_devices(root: Path | None) -> Row:
    device = default_device()
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if device.type == "cuda":
        return ok("devices", f"{len(gpus)} GPU: {', '.join(dict.fromkeys(gpus))}")
    if Path("/proc/driver/nvidia/gpus").is_dir() and not gpus and os.environ.get("CUDA_VISIBLE_DEVICES") is None:
        remedy = f"install a driver for CUDA {torch.version.cuda}, or the torch for the driver that is there"
        return warning("devices", "the CPU, though there is an NVIDIA GPU", remedy)
    return ok("devices", "the CPU, as asked" if gpus else "the CPU")


def check_precision(root: Path | None) -> Row:
    cpu = default_device().type == "cpu"
    units = _cpu_units() if cpu else _gpu_units()
    chosen, native = precision(cpu), default_precision(cpu)
    if chosen == "bf16" and native != "bf16":
        found = f"bf16 is asked for, which this device only imitates ({units})"
        return warning("precision", found, "unset ACCELERATE_MIXED_PRECISION, or set it to no")
    return ok("precision", f"{'bf16' if chosen == 'bf16' else 'float32'} ({units})")


def check_memory(root: Path | None) -> Row:
    free, limit = float(psutil.virtual_memory().available), _container_limit()
    if limit is not None:
        free = min(free, limit)
    found = f"{free / GB:.1f} GB free"
    if free < MEMORY_NEEDED:
        remedy = f"end other programs, or give the container more: the default needs {MEMORY_NEEDED / GB:.1f} GB"
        return fails("memory", found, remedy)
    if free < MEMORY_WANTED:
        remedy = "enough for the default; for larger networks lower batch_size or data.resolution"
        return warning("memory", found, remedy)
    return ok("memory", found)


def check_disk(root: Path | None) -> Row:
    """Of the project (or the current folder), and of the folder for temporary files."""
    places = {"here": root or Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    free = {name: shutil.disk_usage(place).free for name, place in places.items()}
    found = ", ".join(f"{name} {amount / GB:.1f} GB free" for name, amount in free.items())
    if min(free.values()) < DISK_NEEDED:
        remedy = f"free some: the default needs {DISK_NEEDED / GB:.1f} GB (`dvc gc -w`, `mlflow gc`; TMPDIR elsewhere)"
        return fails("disk", found, remedy)
    if min(free.values()) < DISK_WANTED:
        return warning("disk", found, "enough for the default; your own pictures and larger networks need more")
    return ok("disk", found)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_units() -> str:
    units = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX-512 BF16": torch.cpu._is_avx512_bf16_supported()}
    return ", ".join(name for name, there in units.items() if there) or "no AMX and no AVX-512 BF16"


def _gpu_units() -> str:
    capability = torch.cuda.get_device_capability()
    return "tensor cores" if capability >= TENSOR_CORES else "no tensor cores"


def _container_limit() -> float | None:
    """Bytes that this container may still take; None: no limit but the machine's."""
    try:
        limit = (CGROUP / "memory.max").read_text().strip()
        used = int((CGROUP / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else float(max(0, int(limit) - used))
