"""From picture files to one packed file: read, decoded, cropped and scaled in several processes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from quantart.data.files import PictureFile, pair_name
from quantart.data.pictures import IndexRow
from quantart.errors import UserError
from quantart.images.arrays import Picture, crop_to_aspect, resize, resize_short_side
from quantart.images.decode import ImageError, TooLargeError, decode_image, read_file
from quantart.machine.names import same_name

PICTURES_PER_WORKER = 100  # fewer are done before a process has started
BATCH = 512  # pictures that may wait in memory for their turn

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


class Packed(NamedTuple):
    """What has been packed; the rows' splits are set afterwards, since they depend on all hashes."""

    rows: list[IndexRow]
    duplicates: list[tuple[str, str]]
    """(file, the file kept in its place)."""
    rejected: list[tuple[str, str]]
    """(file, reason)."""


def load_all(files: list[PictureFile], geometry: Geometry, workers: int | None) -> Iterator[Loaded | Rejected]:
    """The pictures in the order of `files`, read by `workers` processes; None: one per core, fewer for few pictures."""
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
    """Write the usable pictures to the file `path`, each once; `results` are named by their files."""
    packed = Packed([], [], [])
    file_of: dict[str, str] = {}
    file_named: dict[str, str] = {}
    with path.open("wb") as file:
        for name, result in results:
            if isinstance(result, Rejected):
                packed.rejected.append((name, result.reason))
            elif result.sha256 in file_of:
                packed.duplicates.append((name, file_of[result.sha256]))
            elif paired and (other := file_named.setdefault(pair_name(name), name)) != name:
                differs = " but for how its accents are coded" if same_name(other) == same_name(name) else ""
                fault = f"has the same name as {other}{differs}; partners are found by name"
                packed.rejected.append((name, fault))
            else:
                height, width = result.picture.shape[:2]
                file_of[result.sha256] = name
                packed.rows.append(IndexRow(name, result.sha256, "train", height, width, file.tell()))
                file.write(result.picture.tobytes())
    return packed
