"""Pictures into one packed file, read in several processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from quantart.data.files import PictureFile, pair_name
from quantart.data.index import IndexRow
from quantart.data.loading import Geometry, Loaded, Rejected, load_picture
from quantart.errors import UserError

PICTURES_PER_WORKER = 100  # fewer are done before a process has started
BATCH = 512  # pictures that may wait in memory for their turn


@dataclass
class Packed:
    """What has been packed so far; the rows' splits are set afterwards, since they depend on all hashes.

    Attributes:
        file_of: the kept file of each sha256.
        file_named: for paired data, the kept file of each name that partners share.
        duplicates: (file, the file kept in its place).
        rejected: (file, reason).
        bytes: written to the packed file.
    """

    rows: list[IndexRow] = field(default_factory=list)
    file_of: dict[str, str] = field(default_factory=dict)
    file_named: dict[str, str] = field(default_factory=dict)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    bytes: int = 0


def load_all(files: list[PictureFile], geometry: Geometry, workers: int | None) -> Iterator[Loaded | Rejected]:
    """The pictures in the order of `files`, read in several processes where that is faster.

    Args:
        workers: processes; None: one per core, fewer for few pictures.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = workers or max(1, min(cores, len(files) // PICTURES_PER_WORKER))
    load = partial(load_picture, geometry=geometry)
    if workers == 1:
        yield from map(load, files)
        return
    # spawn: a forked copy of a process with threads (of the progress bar or torch) may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            try:
                yield from pool.map(load, batch, chunksize=4)
            except BrokenProcessPool as error:
                raise UserError(
                    f"a worker process died while reading one of {batch[0].name!r} … {batch[-1].name!r}",
                    "if memory ran out, lower data.max_pixels or the number of workers",
                ) from error


def pack(results: Iterable[tuple[str, Loaded | Rejected]], path: Path, paired: bool) -> Packed:
    """Write the usable pictures to the file `path`, each once; `results` are named by their file."""
    packed = Packed()
    with path.open("wb") as file:
        for name, result in results:
            if isinstance(result, Rejected):
                packed.rejected.append((name, result.reason))
            elif result.sha256 in packed.file_of:
                packed.duplicates.append((name, packed.file_of[result.sha256]))
            elif paired and (other := packed.file_named.setdefault(pair_name(name), name)) != name:
                packed.rejected.append((name, f"has the same name as {other}; partners are found by name"))
            else:
                height, width = result.picture.shape[:2]
                packed.file_of[result.sha256] = name
                packed.rows.append(IndexRow(name, result.sha256, "train", height, width, packed.bytes))
                packed.bytes += file.write(result.picture.tobytes())
    return packed
