"""From picture files to shards: read, decoded, cropped, scaled and written by several processes, a shard by each."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

import pyarrow as pa

from quantart.data.arrow_files import SHARD, SHARD_FILE, sound_shards, write_shard_file
from quantart.data.files import PictureFile
from quantart.data.index import SHARD_SCHEMA
from quantart.errors import UserError
from quantart.images.arrays import Picture, crop_to_aspect, resize, resize_short_side
from quantart.images.decode import UNREAD, ImageError, TooLargeError, decode_image, read_file
from quantart.imports import checksums

AT_ONCE = 2**24  # bytes of pixels in a batch of a shard, which a worker has in memory: few, since each costs a reader

# a picture enlarged more than this shows the resampling's pattern rather than a photograph or a painting
MAX_ENLARGEMENT = 4

# JPEGs far larger than their stored size are decoded at a smaller scale, whose short side is at least this many times
# the stored one: three times as fast. What that changes is measured in docs/data.md
DECODED = 2


@dataclass(frozen=True)
class Geometry:
    """How pictures are stored: with a short side of `short_side` pixels; larger ones than `max_pixels` are rejected."""

    short_side: int
    max_aspect: float
    """Long over short side; both ends of longer pictures are cut off."""
    max_pixels: int
    squash: bool = False
    """Scale every picture to a square of `short_side` whatever its aspect, as the reference does."""


@dataclass(frozen=True)
class Loaded:
    """A usable picture with its file's sha256 (hex)."""

    sha256: str
    picture: Picture


@dataclass(frozen=True)
class Rejected:
    """A file that can't be used, and why."""

    reason: str


def load_picture(file: PictureFile, geometry: Geometry) -> Loaded | Rejected:
    """Read, decode, crop and scale one picture. Never raises for what is in the file."""
    if file.fault is not None:
        return Rejected(file.fault)
    try:
        # read once, so that the hash is of the decoded bytes even if the file changes meanwhile
        data = read_file(file.path, file.offset, file.size)
        picture = decode_image(data, max_pixels=geometry.max_pixels, least_side=DECODED * geometry.short_side)
        return Loaded(hashlib.sha256(data).hexdigest(), _fit(picture, geometry))
    except TooLargeError as error:
        return Rejected(f"{error}, or raise data.max_pixels")
    except ImageError as error:
        return Rejected(str(error))


def _fit(picture: Picture, geometry: Geometry) -> Picture:
    height, width = picture.shape[:2]
    smallest = -(-geometry.short_side // MAX_ENLARGEMENT)
    if min(height, width) < smallest:
        raise ImageError(
            f"too small: {width} × {height} pixels; the short side must have at least {smallest}, "
            f"1/{MAX_ENLARGEMENT} of the {geometry.short_side} that are stored"
        )
    if geometry.squash:
        return resize(picture, geometry.short_side, geometry.short_side)
    # cropped first: a picture 30,000 pixels wide and one pixel high would not fit into memory when scaled
    return resize_short_side(crop_to_aspect(picture, geometry.max_aspect), geometry.short_side)


def write_shards(
    files: Sequence[PictureFile],
    geometry: Geometry,
    folder: Path,
    *,
    workers: int | None = None,
    ray: str | None = None,
) -> Iterator[int]:
    """Write the shards of `files` that are not in `folder` yet; yield the number of files of each.

    `workers` processes write (None: one per core), or those of the Ray cluster at the address `ray`. Where there are
    fewer shards, each process reads with several threads. A kill leaves nothing of the shard that was being written.
    """
    parts = [files[start : start + SHARD] for start in range(0, len(files), SHARD)]
    write = partial(write_shard, geometry=geometry, folder=folder)
    if ray is not None:
        from quantart.data.on_ray import map_on_ray

        yield from map_on_ray(ray, write, parts)
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    readers = workers or cores
    workers = min(readers, len(parts))
    write = partial(write, threads=readers // workers)
    if workers == 1:
        yield from map(write, range(len(parts)), parts)
        return
    # spawn: a forked copy of a process with threads (of the progress bar or torch) may hang
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent) as pool:
        try:
            yield from pool.map(write, range(len(parts)), parts)
        except BrokenProcessPool as error:
            missing = [part for number, part in enumerate(parts) if not (folder / SHARD_FILE.format(number)).exists()]
            if not missing:
                return
            first, last = missing[0][0].name, missing[:workers][-1][-1].name
            raise UserError(
                f"a worker process died while reading one of {first!r} … {last!r}",
                "run it again, it goes on there; if memory ran out, lower data.max_pixels or the number of workers",
            ) from error


def forget_unread(folder: Path) -> None:
    """Remove what `write_shards` is to write again: damaged shards, and files that could not be read."""
    for shard, table in sound_shards(folder):
        if any(fault and fault.startswith(UNREAD) for fault in table["rejected"].to_pylist()):
            shard.unlink()


def _end_with_parent() -> None:
    """Have this process end when its parent was killed: it would wait for work for ever."""
    Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
        os._exit(1)


def write_shard(number: int, files: Sequence[PictureFile], geometry: Geometry, folder: Path, threads: int = 1) -> int:
    """Write the shard `number`, made from `files`, into `folder`, unless it is there; the number of its files."""
    if not (folder / SHARD_FILE.format(number)).exists():
        write_shard_file(folder, number, SHARD_SCHEMA, _batches(files, geometry, threads))
    return len(files)


def _batches(files: Sequence[PictureFile], geometry: Geometry, threads: int) -> Iterator[pa.RecordBatch]:
    rows: list[dict[str, Any]] = []
    size = 0
    for row in _rows(files, geometry, threads):
        rows.append(row)
        size += len(row.get("pixels", b""))
        if size >= AT_ONCE:
            yield pa.RecordBatch.from_pylist(rows, SHARD_SCHEMA)
            rows, size = [], 0
    if rows:
        yield pa.RecordBatch.from_pylist(rows, SHARD_SCHEMA)


def _rows(files: Sequence[PictureFile], geometry: Geometry, threads: int) -> Iterator[dict[str, Any]]:
    row = partial(_row, geometry=geometry)
    if threads == 1:
        yield from map(row, files)
        return
    with ThreadPoolExecutor(threads) as pool:  # decoders leave the interpreter to others
        for start in range(0, len(files), 4 * threads):  # few wait in memory
            yield from pool.map(row, files[start : start + 4 * threads])


def _row(file: PictureFile, geometry: Geometry) -> dict[str, Any]:
    loaded = load_picture(file, geometry)
    if isinstance(loaded, Rejected):
        return {"file": file.name, "rejected": loaded.reason}
    height, width = loaded.picture.shape[:2]
    content = {"height": height, "width": width, "pixels": loaded.picture.tobytes()}
    return {"file": file.name, "sha256": bytes.fromhex(loaded.sha256), **content}


def work_key(files: Sequence[PictureFile], geometry: Geometry) -> str:
    """A name for what decides the shards: the files, their sizes and times of change, the geometry, and this code."""
    digest = hashlib.sha256(repr((geometry, SHARD, checksums(__name__))).encode())
    for file in files:
        try:
            found = file.path.stat()
            state = f"{found.st_size} {found.st_mtime_ns}"
        except OSError as error:
            state = str(error.errno)
        digest.update(f"{file} {state}\n".encode())
    return digest.hexdigest()[:16]
