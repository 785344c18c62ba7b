"""Device, precision and processes of a training run, through Accelerate.

`accelerate config`, a file named by `ACCELERATE_CONFIG_FILE` and the `ACCELERATE_*` environment decide; without them
one process runs on the fastest device found, in bfloat16 where the device computes it natively.
"""

from __future__ import annotations

import os
import sys

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, set_seed

from quantart.device import configured, default_device
from quantart.errors import UserError


def processes_wanted() -> int:
    """Processes that Accelerate's configuration asks for."""
    value = os.environ.get("ACCELERATE_NUM_PROCESSES") or configured("num_processes") or "1"
    try:
        return max(1, int(value))
    except ValueError:
        raise UserError(f"ACCELERATE_NUM_PROCESSES={value!r} is not a number of processes") from None


def launch_if_wanted(module: str, arguments: list[str]) -> None:
    """Replace this process by several that run `python -m module arguments`, where several are asked for."""
    processes = processes_wanted()
    if "LOCAL_RANK" in os.environ or processes == 1:
        return
    if default_device().type == "cpu":
        # `accelerate launch` starts one process alone on CPUs, unless there is an MPI
        launcher = ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    else:
        launcher = ["accelerate.commands.launch", "--multi_gpu", f"--num_processes={processes}"]
        launcher.append(f"--mixed_precision={precision(cpu=False)}")
        if config := os.environ.get("ACCELERATE_CONFIG_FILE"):
            launcher.append(f"--config_file={config}")
    os.execv(sys.executable, [sys.executable, "-m", *launcher, "-m", module, *arguments])  # noqa: S606 - our own interpreter


def make_accelerator(seed: int) -> Accelerator:
    """An Accelerator with device and precision settled, and every process seeded alike.

    Raises:
        UserError: the precision asked for is not one the device can do.
    """
    cpu = default_device().type == "cpu"
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=precision(cpu),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    set_seed(seed)
    return accelerator


def precision(cpu: bool) -> str:
    """`bf16` or `no`, as Accelerate's configuration asks, else `default_precision`.

    Raises:
        UserError: it asks for another.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION") or configured("mixed_precision") or default_precision(cpu)
    if asked not in {"no", "bf16"}:
        raise UserError(f"mixed precision {asked!r} is not supported; use 'bf16' or 'no'")
    return asked


def default_precision(cpu: bool) -> str:
    """`bf16` where the device has instructions for it (AMX or AVX-512 on CPUs), else `no`: float32."""
    if cpu:
        capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        capable = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if capable else "no"
