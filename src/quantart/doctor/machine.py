"""Cores, devices, half precision, memory, disk, and the ImageNet weights of the perceptual losses and distances."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import psutil
import torch

from quantart.doctor import Finding, fails, ok, warning
from quantart.errors import UserError
from quantart.losses.weights import SHIPPED, is_torchvisions, shipped_file, torchvision_file
from quantart.machine.device import default_device, default_precision, precision
from quantart.params.file import load_params
from quantart.training.launch import processes_wanted
from quantart.vocabulary.names import FeatureNetworkName

# GB. Measured: training the default's base takes 1.24; the default's files, with DVC's cache and MLflow's, 0.27.
MEMORY_NEEDED, MEMORY_WANTED = 1.5, 4.0
DISK_NEEDED, DISK_WANTED = 0.5, 5.0
CGROUP = Path("/sys/fs/cgroup")


def check_threads(root: Path | None) -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads, processes = torch.get_num_threads(), processes_wanted()
    found = f"{threads} threads on {cores} cores" + (f", {processes} processes" if processes > 1 else "")
    asked = os.environ.get("OMP_NUM_THREADS")
    if threads * processes < cores and asked:
        return warning(f"{found} (OMP_NUM_THREADS={asked})", "unset OMP_NUM_THREADS to use all cores")
    if threads * processes > cores:
        return warning(found, f"set OMP_NUM_THREADS={max(1, cores // processes)}: more threads slow each other down")
    return ok(found)


def check_devices(root: Path | None) -> Finding:
    device = default_device()
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    if device.type == "cuda":
        return ok(f"{len(gpus)} GPU: {', '.join(dict.fromkeys(gpus))}")
    if Path("/proc/driver/nvidia/gpus").is_dir() and not gpus and os.environ.get("CUDA_VISIBLE_DEVICES") is None:
        remedy = f"install a driver for CUDA {torch.version.cuda}, or a torch that fits the installed driver"
        return warning("the CPU, although there is an NVIDIA GPU", remedy)
    return ok("the CPU, as requested" if gpus else "the CPU")


def check_precision(root: Path | None) -> Finding:
    cpu = default_device().type == "cpu"
    if cpu:
        known = {"AMX": torch.cpu._is_amx_tile_supported(), "AVX-512 BF16": torch.cpu._is_avx512_bf16_supported()}
        units = ", ".join(name for name, there in known.items() if there) or "no AMX and no AVX-512 BF16"
    else:
        units = "tensor cores" if torch.cuda.get_device_capability() >= (7, 0) else "no tensor cores"
    chosen = precision(cpu)
    if chosen == "bf16" and default_precision(cpu) != "bf16":
        found = f"bf16 is requested, but this device only emulates it ({units})"
        return warning(found, "unset ACCELERATE_MIXED_PRECISION, or set it to no")
    return ok(f"{'bf16' if chosen == 'bf16' else 'float32'} ({units})")


def check_memory(root: Path | None) -> Finding:
    free = min(float(psutil.virtual_memory().available), _container_limit()) / 1e9
    found = f"{free:.1f} GB free"
    if free < MEMORY_NEEDED:
        return fails(found, f"stop other programs, or give the container more: the default needs {MEMORY_NEEDED} GB")
    if free < MEMORY_WANTED:
        return warning(found, "enough for the default; for larger networks lower batch_size or data.resolution")
    return ok(found)


def check_disk(root: Path | None) -> Finding:
    """Free space for the project (or the current folder) and for temporary files."""
    places = {"here": root or Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    free = {name: shutil.disk_usage(place).free / 1e9 for name, place in places.items()}
    found = ", ".join(f"{name} {amount:.1f} GB free" for name, amount in free.items())
    if min(free.values()) < DISK_NEEDED:
        ways = "`dvc gc -w`, `mlflow gc`; TMPDIR moves temporary files"
        return fails(found, f"free space: the default needs {DISK_NEEDED} GB ({ways})")
    if min(free.values()) < DISK_WANTED:
        return warning(found, "enough for the default; your own pictures and larger networks need more")
    return ok(found)


def check_weights(root: Path | None) -> Finding:
    """Those of the networks that the project's parameters name; outside of a project, the shipped ones."""
    networks: list[FeatureNetworkName] = list(SHIPPED)
    if root:
        params = load_params(root / "params.yaml")
        paints = params.stage2.objective == "painting"
        painting = [params.stage2.painting.perceptual_network] if paints else []
        named = [params.stage1.loss.perceptual_network, params.evaluate.network, params.evaluate.features, *painting]
        networks = list(dict.fromkeys(named))
    faults, absent = [], []
    for network in networks:
        if network in SHIPPED:
            try:
                shipped_file(network)
            except UserError as error:
                faults.append(error.fault)
            continue
        file, url = torchvision_file(network)
        if not file.is_file():
            absent.append(f"put {url} to {file}, or let the first run download it")
        elif not is_torchvisions(network, file):
            return fails(f"{file}: damaged, or another file (sha256 differs)", f"`rm {file}`")
    if faults:
        return fails("; ".join(faults), "install quantart again, or `git checkout` the files in a clone")
    if absent:
        return warning(f"{len(absent)} of {len(networks)} not downloaded", "; ".join(absent))
    return ok(f"{', '.join(networks)}: sha256 correct")


def _container_limit() -> float:
    """Bytes that this container may still take."""
    try:
        limit, used = ((CGROUP / f"memory.{name}").read_text().strip() for name in ("max", "current"))
        return float("inf") if limit == "max" else max(0.0, float(int(limit) - int(used)))
    except (OSError, ValueError):
        return float("inf")
