"""Work in a thread that stops when nobody waits for it any more: between two layers of its network."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from torch import nn

LOOK = 0.5  # seconds between two looks at whether somebody still waits
T = TypeVar("T")
_thread = threading.local()


class Stopped(Exception):
    """Nobody waits for the result."""


def allow_stopping(network: nn.Module) -> None:
    """From now on, each layer of the network first looks whether the work in this thread is to stop."""
    for module in network.modules():
        module.register_forward_pre_hook(_look)


async def until_stopped(work: Callable[[], T]) -> AsyncGenerator[T | None, None]:
    """None every `LOOK` seconds while `work` runs in a thread, then its result; closing the iterator stops the work."""
    stop = threading.Event()
    running = asyncio.ensure_future(asyncio.to_thread(_stoppable, work, stop))
    try:
        while not (await asyncio.wait({running}, timeout=LOOK))[0]:
            yield None
        yield running.result()
    finally:
        stop.set()


def _stoppable(work: Callable[[], T], stop: threading.Event) -> T | None:
    _thread.stop = stop
    try:
        return work()
    except Stopped:
        return None
    finally:
        del _thread.stop


def _look(*_: Any) -> None:
    stop: threading.Event | None = getattr(_thread, "stop", None)
    if stop and stop.is_set():
        raise Stopped
