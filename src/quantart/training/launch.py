"""Device, precision and processes of a training run, as Accelerate's configuration asks for.

The configuration is the `ACCELERATE_*` environment, then the file named by `ACCELERATE_CONFIG_FILE` or written by
`accelerate config`. Without it one process runs on the fastest device, in bfloat16 where the device computes it
natively. Each of these starts several processes:

    ACCELERATE_NUM_PROCESSES=2 quantart train stage1 --domain base      # under `dvc repro` too
    torchrun --nproc-per-node 2 -m quantart_cli train stage1 --domain base
    accelerate launch --multi_gpu --num_processes 2 -m quantart_cli train stage1 --domain base
    srun --ntasks 2 quantart train stage1 --domain base

For several machines see docs/scale.md.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
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
from quantart.training.machines import join

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # of Linux's prctl
_LAUNCHERS = (  # what Kubernetes' operators, mpirun and srun call a process's rank, their number and the local rank
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),
)


def processes_wanted() -> int:
    """Number of processes that Accelerate's configuration asks for, on all machines together."""
    return _number(
        "ACCELERATE_NUM_PROCESSES", os.environ.get("ACCELERATE_NUM_PROCESSES") or configured("num_processes")
    )


def _number(name: str, asked: str | None) -> int:
    try:
        return max(1, int(asked or 1))
    except ValueError:
        raise UserError(f"{name}={asked!r} is not a number", "use 1, 2, …") from None


def launch_if_wanted(module: str, arguments: list[str]) -> None:
    """Run `python -m module arguments` in several processes where several are wanted, and exit with their exit code.

    It returns in a process that is to do the work itself: the only one, or one that a launcher started, as soon as it
    has met the others. UserError where the launcher's wish can't be met.
    """
    if "LOCAL_RANK" in os.environ or _started_by_another_launcher():
        _stop_with_parent()
        join()
        return
    by_accelerate = {"MASTER_ADDR", "ACCELERATE_DYNAMO_BACKEND"} <= os.environ.keys()  # it says no more without GPUs
    if by_accelerate and (configured("num_processes") is None or os.environ["MASTER_ADDR"] != "127.0.0.1"):
        raise UserError(
            "`accelerate launch` started this process without saying which of several it is",
            "give it --multi_gpu, which works on CPUs too, or use torchrun",
        )
    if (processes := processes_wanted()) > 1:
        sys.exit(_exit_code(module, arguments, processes, cpu=default_device().type == "cpu"))


def _started_by_another_launcher() -> bool:
    """Whether this process is one of several that torch's launchers did not start; torch is then told its place."""
    environ = os.environ
    for rank, size, local in _LAUNCHERS:
        if rank in environ and (tasks := int(environ.get(size, 1))) > 1:
            if (wanted := processes_wanted()) not in (1, tasks):
                fault = f"{size} says {tasks} processes, Accelerate's configuration {wanted}"
                raise UserError(fault, "unset ACCELERATE_NUM_PROCESSES and num_processes in its file")
            if "MASTER_ADDR" not in environ:
                environ["MASTER_ADDR"] = _first_machine(size)
            job, step = (int(environ.get(f"SLURM_{name}_ID", 0)) for name in ("JOB", "STEP"))
            environ.setdefault("MASTER_PORT", str(10_000 + (16 * job + step) % 20_000))  # of other jobs, others
            environ |= {"RANK": environ[rank], "WORLD_SIZE": str(tasks), "LOCAL_RANK": environ.get(local, "0")}
            return True
    return False


def _first_machine(size: str) -> str:
    """Name of the machine that process 0 of SLURM's step is on."""
    try:
        command = ["scontrol", "show", "hostnames", os.environ["SLURM_STEP_NODELIST"]]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()[0]
    except (KeyError, OSError, subprocess.CalledProcessError, IndexError):
        fault = f"{size} says {os.environ[size]} processes, and nothing says where the first one is"
        raise UserError(fault, "set MASTER_ADDR to the name or address of its machine") from None


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
            options = _machines(processes)
            torchrun.run(torchrun.parse_args([*options, "-m", module, *arguments]))
        else:
            options = ["--multi_gpu", f"--num_processes={processes}", f"--mixed_precision={precision(cpu=False)}"]
            if config := os.environ.get("ACCELERATE_CONFIG_FILE"):
                options.append(f"--config_file={config}")
            if configured("num_machines") in {None, "1"} and configured("main_process_port") is None:
                options.append("--main_process_port=0")  # a free one: another training may begin at the same moment
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


def _machines(processes: int) -> list[str]:
    """torchrun's options for this machine alone, or as one of those that Accelerate's file names."""
    if (machines := _number("num_machines", configured("num_machines"))) == 1:
        return ["--standalone", "--local-addr=localhost", f"--nproc-per-node={processes}"]
    address, rank = configured("main_process_ip"), configured("machine_rank")
    if processes % machines or address is None or rank is None:
        fault = (
            f"Accelerate's file: {processes} processes on {machines} machines, number {rank}, the first at {address}"
        )
        raise UserError(fault, "set num_processes to a multiple of num_machines, machine_rank and main_process_ip")
    port = configured("main_process_port") or "29500"
    log.info(f"machine {rank} of {machines}: meeting the others at {address}:{port}")
    options = [f"--nnodes={machines}", f"--node-rank={rank}", f"--master-addr={address}", f"--master-port={port}"]
    return [*options, f"--nproc-per-node={processes // machines}"]


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
