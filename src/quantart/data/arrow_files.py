"""Shards: numbered Arrow files in a folder, each written whole by one of several processes, and read memory-mapped."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa

from quantart.data.store import Source, soon, source_of
from quantart.errors import UserError
from quantart.machine.whole import write_whole

SHARD_FILE = "shard-{:05}.arrow"
SHARD = 128  # fixed, so that the bytes don't depend on who wrote them; a kill loses at most so many for each worker

_BESIDE = ".shard-"  # how the names of shards begin that are being written
_MAPPED = 2**12  # shards at a time; Linux lets a process map sixteen times as many files
_ONE_THREAD = pa.ipc.IpcReadOptions(use_threads=False)


def write_shard_file(folder: Path, number: int, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
    """Write a shard, whose name appears once it is whole."""
    beside = folder / f"{_BESIDE}{number}-{platform.node()}-{os.getpid()}"  # nobody else's
    try:
        with beside.open("wb") as file:
            with pa.ipc.new_file(file, schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            os.fsync(file.fileno())  # else a power cut may leave an empty file of this name
        beside.rename(folder / SHARD_FILE.format(number))
    finally:
        beside.unlink(missing_ok=True)


def sound_shards(folder: Path) -> Iterator[tuple[Path, pa.Table]]:
    """The whole shards in the folder; what a kill left half-written, or a broken disk damaged, is removed."""
    for half in folder.glob(f"{_BESIDE}*"):
        half.unlink(missing_ok=True)
    for shard in folder.glob("shard-*"):
        try:
            table = read_table(shard, "")
        except UserError:
            shard.unlink()
        else:
            yield shard, table


def shard_sizes(folder: Path) -> dict[str, int]:
    """Bytes of each shard in the folder, by name."""
    with os.scandir(folder) as entries:
        return {each.name: each.stat().st_size for each in entries if each.name.startswith("shard-")}


def read_table(path: Path, remedy: str) -> pa.Table:
    """An Arrow file, memory-mapped; UserError with the `remedy` where it is damaged."""
    try:
        # the mapping outlives the file, which is closed here: there may be more shards than a process may open files
        with pa.memory_map(str(path)) as file:
            return pa.ipc.open_file(file, options=_ONE_THREAD).read_all()
    except (OSError, pa.ArrowException):
        raise UserError(f"{path}: damaged", remedy) from None


class Shards:
    """The shards of a folder by their numbers, each mapped when it is first asked for.

    Into a folder that `mirror` copied from a store a shard is fetched before that, or the one `column` of it.

    Args:
        sizes: what `shard_sizes` gave when they were written; UserError with the `remedy` where they differ.
    """

    def __init__(self, folder: Path, sizes: Mapping[str, int], remedy: str, column: str | None = None) -> None:
        self._source = source_of(folder)
        self._column = column
        self._folder, self._remedy = folder, remedy
        if self._source is None:
            place, found = str(folder), shard_sizes(folder)
        else:
            self._folder, self._remedy = folder / (column or ""), f"remove {folder}, which holds copies"
            self._folder.mkdir(exist_ok=True)
            self._fetched: dict[int, Future[None]] = {}
            place, found = self._source.store.address, self._source.store.sizes()
            remedy = "copy the project's whole folder `data` there again"
        for name, expected in sizes.items():
            if (actual := found.get(name, 0)) != expected:
                raise UserError(f"{place}/{name}: has {actual} bytes instead of {expected}", remedy)
        self._table = lru_cache(_MAPPED)(self._mapped)

    @property
    def distant(self) -> bool:
        """Whether shards are fetched."""
        return self._source is not None

    def want(self, numbers: Iterable[int]) -> None:
        """Begin to fetch the shards that are not here yet; they will be asked for."""
        if self._source is not None:
            for number in dict.fromkeys(numbers):
                if number not in self._fetched:
                    self._fetched[number] = soon(partial(self._fetch, self._source, number))

    def __getitem__(self, number: int) -> pa.Table:
        return self._table(number)

    def unmap(self) -> None:
        """Let go of the shards that were asked for: while they are mapped, freed memory between them is not reused."""
        self._table.cache_clear()

    def _mapped(self, number: int) -> pa.Table:
        if self._source is not None:
            self.want([number])
            fetched = self._fetched[number]
            if fetched.cancel() or fetched.exception():  # not begun, or the store may be there again
                self._fetch(self._source, number)
        return read_table(self._folder / SHARD_FILE.format(number), self._remedy)

    def _fetch(self, source: Source, number: int) -> None:
        name = SHARD_FILE.format(number)
        if (self._folder / name).exists():
            return
        if self._column is None:
            whole = source.store.read(name)
            source.check()
            write_whole(self._folder / name, whole)
        else:
            table = source.store.read_column(name, self._column)
            source.check()
            write_shard_file(self._folder, number, table.schema, table.to_batches())
