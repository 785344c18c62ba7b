"""Device, precision and processes of a training run, as Accelerate's configuration asks for.

The configuration is the `ACCELERATE_*` environment, then the file named by `ACCELERATE_CONFIG_FILE` or written by
`accelerate config`. Without it one process runs on the fastest device, in bfloat16 where the device computes it
natively. Each of these starts several processes:

    ACCELERATE_NUM_PROCESSES=2 quantart train stage1 --domain base      # under `dvc repro` too
    torchrun --nproc-per-node 2 -m quantart_cli train stage1 --domain base
    accelerate launch --multi_gpu --num_processes 2 -m quantart_cli train stage1 --domain base      # GPUs only
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
from contextlib import suppress

import torch
from accelerate import Accelerator
from accelerate.commands.launch import launch_command, launch_command_parser
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch.distributed import run as torchrun
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from quantart.errors import UserError
from quantart.machine.device import configured, default_device, precision

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # of Linux's prctl


def processes_wanted() -> int:
    """Number of processes that Accelerate's configuration asks for."""
    asked = os.environ.get("ACCELERATE_NUM_PROCESSES") or configured("num_processes") or "1"
    try:
        return max(1, int(asked))
    except ValueError:
        raise UserError(f"ACCELERATE_NUM_PROCESSES={asked!r} is not a number of processes", "use 1, 2, …") from None


def launch_if_wanted(module: str, arguments: list[str]) -> None:
    """Run `python -m module arguments` in several processes where several are wanted, and exit with their exit code.

    It returns in a process that is to do the work itself: the only one, or one that a launcher started.
    """
    if "LOCAL_RANK" in os.environ:
        _stop_with_parent()
        return
    cpu = default_device().type == "cpu"
    if (processes := processes_wanted()) > 1:
        sys.exit(_exit_code(module, arguments, processes, cpu))
    if cpu and "MASTER_ADDR" in os.environ:
        log.warning("one process runs, since `accelerate launch` starts no more on CPUs; set ACCELERATE_NUM_PROCESSES")


def _stop_with_parent() -> None:
    """Have Linux send this process SIGTERM when its launcher ends, even by `kill -9`, which it can't pass on."""
    with suppress(AttributeError, OSError, TypeError):  # another system
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _exit_code(module: str, arguments: list[str], processes: int, cpu: bool) -> int:
    """Exit code of the processes, or of the first that failed; the others are then stopped within 30 seconds.

    The launchers run inside this process: on their own they turn every failure into a traceback and exit code 1.
    """
    _check_gpus(processes, cpu)
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    try:
        if cpu:
            os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
            options = ["--standalone", "--local-addr=localhost", f"--nproc-per-node={processes}"]
            torchrun.run(torchrun.parse_args([*options, "-m", module, *arguments]))
        else:
            options = ["--multi_gpu", f"--num_processes={processes}", f"--mixed_precision={precision(cpu=False)}"]
            if config := os.environ.get("ACCELERATE_CONFIG_FILE"):
                options.append(f"--config_file={config}")
            launch_command(launch_command_parser().parse_args([*options, "-m", module, *arguments]))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode > 0:
            return failure.exitcode
        died = f"process {rank} of {processes} died of {signal.Signals(-failure.exitcode).name}"
        log.error(f"{died}; the others were stopped: run the same command again to go on")
        return 1
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0


def _check_gpus(processes: int, cpu: bool) -> None:
    """UserError where Accelerate's file was written for a machine with more GPUs; the environment outranks it."""
    if os.environ.keys() & {"ACCELERATE_USE_CPU", "ACCELERATE_NUM_PROCESSES"} or configured("num_machines") not in {
        None,
        "1",
    }:
        return
    here = 0 if cpu else torch.cuda.device_count()
    if configured("distributed_type") == "MULTI_GPU" and here < processes:
        fault = f"Accelerate's configuration asks for {processes} GPUs, and this machine has {here}"
        raise UserError(fault, "run `accelerate config` here, or set ACCELERATE_NUM_PROCESSES=1")


def make_accelerator(seed: int) -> Accelerator:
    """An Accelerator on `default_device` with its `precision`; every process is seeded alike."""
    cpu = default_device().type == "cpu"
    accelerator = Accelerator(
        cpu=cpu,
        mixed_precision=precision(cpu),
        kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)],
    )
    set_seed(seed)
    return accelerator
