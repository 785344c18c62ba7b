"""What the processes of one training, perhaps on several machines, must have in common, and waiting for one another."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object

from quantart.errors import UserError
from quantart.machine.device import default_device
from quantart.vocabulary.keys import flatten

log = logging.getLogger(__name__)


@contextmanager
def patience(waits: str, seconds: float | None = 60.0) -> Iterator[Callable[[], None]]:
    """Warn `waits` whenever the function that the block gets was not called for so long; None: never."""
    news = threading.Event()
    ended = threading.Event()

    def watch() -> None:
        while not ended.is_set():
            if not news.wait(seconds):
                log.warning(waits)
            news.clear()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield news.set
    finally:
        ended.set()
        news.set()
        watcher.join()


def join() -> None:
    """Meet the other processes that the launcher started; UserError where that fails."""
    environ = os.environ
    others = f"the {environ.get('WORLD_SIZE')} processes at {environ.get('MASTER_ADDR')}:{environ.get('MASTER_PORT')}"
    try:
        with patience(f"process {environ.get('RANK')} still waits for {others}: has each machine started its own?"):
            PartialState(cpu=default_device().type == "cpu")
    except (RuntimeError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"process {environ.get('RANK')} could not meet {others} ({reason})",
            "see that all have started and that the machines reach each other; where one has several network cards, "
            "name the one to use in GLOO_SOCKET_IFNAME (CPUs) or NCCL_SOCKET_IFNAME (GPUs)",
        ) from None


def agree(folder: Path, parts: Mapping[str, Any], step: int) -> None:
    """Raise UserError in all processes where one would compute something else than the first, or resume later than it.

    Args:
        folder: this process's project, for the message.
        parts: what decides the result, nested, JSON-serialisable.
        step: of this process's newest checkpoint; an earlier one than the first's gives way to that.
    """
    known = gather_object([(f"{socket.gethostname()}:{folder}", flatten(parts), step)])
    place, decided, begun = known[0]
    for rank, (other, values, step) in enumerate(known):
        for key in sorted(values.keys() | decided.keys()):
            if values.get(key) != decided.get(key):
                raise UserError(
                    f"process {rank} ({other}) has {key} {values.get(key)}, process 0 ({place}) {decided.get(key)}",
                    "give all machines the same params.yaml, data and models",
                )
        if step > begun:
            raise UserError(
                f"process {rank} ({other}) has a checkpoint of step {step}, process 0 ({place}) "
                + (f"one of step {begun}" if begun else "has none"),
                f"make the machine of process {rank} the first one, or remove its .quantart/checkpoints",
            )


def check_shared(folder: Path, work: str) -> None:
    """Raise UserError in all processes where one does not see the files that the first one writes into `folder`."""
    state = PartialState(cpu=default_device().type == "cpu")
    if state.num_processes == 1:
        return
    token = [secrets.token_hex(8)]
    broadcast_object_list(token)
    probe = folder / f".shared-{token[0]}"
    if state.is_main_process:
        probe.touch()
    state.wait_for_everyone()
    places = gather_object([None if probe.exists() else f"{socket.gethostname()}:{folder}"])
    if state.is_main_process:
        probe.unlink()
    if lacking := [f"process {rank} ({place})" for rank, place in enumerate(places) if place]:
        raise UserError(
            f"{lacking[0]} does not share the folder of process 0, and {work} needs that",
            "run it on one machine, or in a folder that all machines share",
        )
