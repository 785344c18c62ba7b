"""Progress of long work: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

Item = TypeVar("Item")


def progress(items: Iterable[Item], total: int, title: str) -> Generator[Item, None, None]:
    """Yield `items` under a bar on standard error, or with a line for each tenth where that is no terminal."""
    console = Console(stderr=True)
    if not can_move(console):
        for count, item in enumerate(items, start=1):
            yield item
            if count * 10 // total > (count - 1) * 10 // total:
                console.print(f"{title}: {count} of {total}", highlight=False)
        return
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console) as bar:
        yield from bar.track(items, total=total, description=title)


def can_move(console: Console) -> bool:
    """Whether bars can move there: not where FORCE_COLOR alone says so, as notebooks and build servers do."""
    return console.is_terminal and (sys.stderr.isatty() or os.environ.get("TTY_COMPATIBLE") == "1")


class _RateColumn(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "")


class TrainingBar:
    """Step, loss, pictures per second and time left of a training run: a bar on a terminal, elsewhere lines."""

    def __init__(self, name: str, first: int, total: int, enabled: bool = True) -> None:
        self._name = name
        self._first = first
        self._total = total
        self._began = time.perf_counter()
        console = Console(stderr=True)
        self._lines = enabled and not can_move(console)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not (enabled and can_move(console)),
        )
        self._task = self._bar.add_task(name, total=total, completed=first, values="")

    def advance(self, done: int) -> None:
        self._bar.update(self._task, completed=done)

    def show(self, done: int, values: Mapping[str, float]) -> None:
        """Show `total_loss` and `images_per_second` of an interval's means."""
        text = f"loss {values['total_loss']:.4f}  {values['images_per_second']:.1f} pictures/s"
        self._bar.update(self._task, completed=done, values=text)
        if self._lines:
            elapsed = time.perf_counter() - self._began
            left = elapsed / (done - self._first) * (self._total - done)
            print(f"{self._name}: step {done}/{self._total}  {text}  {left:.0f} s left", file=sys.stderr, flush=True)

    def __enter__(self) -> TrainingBar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()
