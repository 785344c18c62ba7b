"""Work that nobody waits for any more stops between two layers."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing

import pytest
import torch
from torch import nn

pytest.importorskip("gradio", reason="pages need Gradio: pip install 'quantart[demo]'")
from quantart.pages import stopping


class Layers:
    """A network that is used over and over, and events that say where it is."""

    def __init__(self) -> None:
        self.began, self.ended = threading.Event(), threading.Event()
        self.network = nn.Sequential(nn.Identity(), nn.Linear(2, 2))
        stopping.allow_stopping(self.network)

    def for_ever(self) -> None:
        try:
            while True:
                self.network(torch.zeros(2))
                self.began.set()
        finally:
            self.ended.set()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "LOOK", 0.01)


async def steps(work: object, most: int) -> list[object]:
    found: list[object] = []
    async with aclosing(stopping.until_stopped(work)) as iterator:  # type: ignore[arg-type]
        async for step in iterator:
            found.append(step)
            if len(found) == most:
                break
    return found


def test_closing_the_iterator_stops_the_work() -> None:
    layers = Layers()
    assert asyncio.run(steps(layers.for_ever, 3)) == [None] * 3
    assert layers.began.is_set()
    assert layers.ended.is_set()  # asyncio.run waits for the thread, which would not end otherwise


def test_a_cancelled_task_stops_the_work() -> None:
    layers = Layers()

    async def cancelled() -> None:
        task = asyncio.ensure_future(steps(layers.for_ever, 10**9))
        await asyncio.to_thread(layers.began.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert layers.ended.is_set()


def test_the_result_comes_last_and_errors_come_through() -> None:
    layers = Layers()
    assert asyncio.run(steps(lambda: layers.network(torch.zeros(2)).shape, 99))[-1] == (2,)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(steps(lambda: 1 // 0, 99))


def test_a_network_outside_such_work_runs_as_ever() -> None:
    assert Layers().network(torch.zeros(2)).shape == (2,)
