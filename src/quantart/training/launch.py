"""Device, precision and processes of a training run, through Accelerate.

`accelerate config`, a file named by `ACCELERATE_CONFIG_FILE` and the `ACCELERATE_*` environment decide; without them
one process runs on the fastest device found, in bfloat16 where the device computes it natively.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
import time
from threading import Thread
from uuid import uuid4

import psutil
import torch
from accelerate import Accelerator
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DistributedDataParallelKwargs, set_seed
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

from quantart.errors import UserError
from quantart.machine.device import configured, default_device, precision


def processes_wanted() -> int:
    """Processes that Accelerate's configuration asks for."""
    _, told = _told_launcher()
    if told is not None and told.config_file:
        os.environ["ACCELERATE_CONFIG_FILE"] = told.config_file
    asked = os.environ.get("ACCELERATE_NUM_PROCESSES") or (told and told.num_processes) or configured("num_processes")
    try:
        return max(1, int(asked or 1))
    except ValueError:
        raise UserError(f"ACCELERATE_NUM_PROCESSES={asked!r} is not a number of processes") from None


def _told_launcher() -> tuple[psutil.Process | None, argparse.Namespace | None]:
    """`accelerate launch` and what it was told, where it is this process's parent.

    On CPUs it starts one process alone unless there is an MPI, and hands the number on by its command line only.
    """
    parent = psutil.Process().parent()
    try:
        words = parent.cmdline() if parent else []
    except psutil.Error:
        return None, None
    places = (place for place, word in enumerate(words) if _LAUNCHER.search(" ".join(words[: place + 1])))
    if "LOCAL_RANK" in os.environ or (place := next(places, None)) is None:
        return None, None
    return parent, launch_command_parser().parse_known_args(words[place + 1 :])[0]


_LAUNCHER = re.compile(r"(^|[ /])(accelerate launch|accelerate-launch|accelerate\.commands\.launch)$")


def launch_if_wanted(module: str, arguments: list[str]) -> None:
    """Run `python -m module arguments` in several processes where several are asked for, and exit with its code."""
    processes = processes_wanted()
    if "LOCAL_RANK" in os.environ or processes == 1:
        return
    if default_device().type == "cpu":
        if (launcher := _told_launcher()[0]) is not None:
            Thread(target=_end_with, args=[launcher], daemon=True).start()
        sys.exit(_run_on_cpus(module, arguments, processes))
    words = ["accelerate.commands.launch", "--multi_gpu", f"--num_processes={processes}"]
    words.append(f"--mixed_precision={precision(cpu=False)}")
    if config := os.environ.get("ACCELERATE_CONFIG_FILE"):
        words.append(f"--config_file={config}")
    os.execv(sys.executable, [sys.executable, "-m", *words, "-m", module, *arguments])  # noqa: S606 - our own interpreter


def _end_with(launcher: psutil.Process) -> None:
    """`accelerate launch` hands no signal on: it ends and leaves its program to itself."""
    while os.getppid() == launcher.pid:  # waiting for the launcher itself would take until somebody asks how it ended
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)


def _run_on_cpus(module: str, arguments: list[str], processes: int) -> int:
    """Exit code of the processes, or of the first that failed; then the others are stopped within 30 seconds.

    `torchrun` does the same, but ends with exit code 1 and a traceback whatever its processes said.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, torch.get_num_threads() // processes)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        max_restarts=0,
        run_id=str(uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",
    )
    try:
        elastic_launch(config, sys.executable)("-u", "-m", module, *arguments)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        if failure.exitcode < 0:
            died = f"process {rank} of {processes} died of {signal.Signals(-failure.exitcode).name}"
            print(f"error: {died}; the others were stopped: run the same command again to go on", file=sys.stderr)
        return failure.exitcode if failure.exitcode > 0 else 1
    except SignalException as stopped:
        return 128 + stopped.sigval
    return 0


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
