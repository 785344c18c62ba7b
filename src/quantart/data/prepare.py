"""From a source of pictures to one packed file: checked, cropped, scaled and split.

A prepared folder holds

- `pictures.bin`: the pictures one after another, uint8, row by row, three channels;
- `index.csv`: `file, sha256, split, height, width, offset` of each, in the order of the file names;
- `rejected.csv`: `file, reason` of each file that can't be used;
- `report.json`: the counts, duplicates and sizes;
- `contact_sheet.jpg`: what the pictures look like.

The same pictures and parameters give the same bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from quantart.data.contact_sheet import contact_sheet
from quantart.data.files import PictureFile, pair_name
from quantart.data.index import PIXELS_FILE, IndexRow, write_index, write_table
from quantart.data.loading import Geometry, Loaded, Rejected, load_picture
from quantart.data.sources import find_pictures
from quantart.data.splits import assign_splits, split_of_name
from quantart.errors import UserError
from quantart.images.write import write_image
from quantart.machine.progress import progress
from quantart.machine.whole import whole_folder
from quantart.vocabulary.names import SPLITS, Split

if TYPE_CHECKING:
    from quantart.params.data import DataParams
    from quantart.vocabulary.names import Domain

REJECTED_FILE = "rejected.csv"
REPORT_FILE = "report.json"
CONTACT_SHEET_FILE = "contact_sheet.jpg"

REASONS_SHOWN = 10
PICTURES_PER_WORKER = 100  # fewer are done before a process has started
BATCH = 512  # pictures that may wait in memory for their turn


@dataclass(frozen=True)
class PrepareReport:
    """What became of each picture: `found = kept + duplicates + rejected`.

    Attributes:
        found: pictures that the source names.
        kept: different usable ones.
        splits: kept pictures per split; a domain of one single picture has it in each.
        duplicates: (file, the file kept in its place).
        rejected: (file, reason).
        short_side: of every kept picture, in pixels.
        longest_side: the longest of all, in pixels.
        bytes: size of `pictures.bin`.
    """

    domain: str
    found: int
    kept: int
    splits: dict[Split, int]
    duplicates: list[tuple[str, str]]
    rejected: list[tuple[str, str]]
    short_side: int
    longest_side: int
    bytes: int

    def summary(self) -> str:
        """One line for the terminal."""
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        return (
            f"{self.domain}: {self.found} pictures found, {self.kept} kept ({splits}), "
            f"{len(self.duplicates)} duplicates, {len(self.rejected)} rejected"
        )

    def to_json(self) -> str:
        """The content of `report.json`."""
        report = {
            "domain": self.domain,
            "counts": {
                "found": self.found,
                "kept": self.kept,
                "duplicates": len(self.duplicates),
                "rejected": len(self.rejected),
            },
            "splits": self.splits,
            "sizes": {"short_side": self.short_side, "longest_side": self.longest_side, "bytes": self.bytes},
            "duplicates": [{"file": file, "same_as": kept} for file, kept in self.duplicates],
            "rejected": [{"file": file, "reason": reason} for file, reason in self.rejected],
        }
        return json.dumps(report, indent=2) + "\n"


@dataclass
class _Packed:
    """What has been written so far. The rows' splits are set at the end, which needs all hashes.

    Attributes:
        file_of: the kept file of each sha256.
        file_named: the kept file of each name that partners share; stays empty where pictures have no partners.
    """

    rows: list[IndexRow] = field(default_factory=list)
    file_of: dict[str, str] = field(default_factory=dict)
    file_named: dict[str, str] = field(default_factory=dict)
    duplicates: list[tuple[str, str]] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    bytes: int = 0


def prepare_domain(
    source: Path,
    out: Path,
    params: DataParams,
    *,
    domain: Domain,
    called: str | None = None,
    root: Path | None = None,
    workers: int | None = None,
) -> PrepareReport:
    """Prepare all pictures of `source` into the folder `out`, which is replaced as a whole at the end.

    Args:
        source: folder, list, table, shard or one picture, see `find_pictures`.
        out: a new folder, an empty one, or an earlier prepared one.
        params: size, splits and limits.
        domain: named in the report; says which of `params`' tables describes the source.
        called: what the user gave the source by, e.g. `--content`, for messages; None: `data.<domain>` of params.yaml.
        root: folder that the names of a list or table are relative to; None: the one it lies in.
        workers: processes; None: one per core, fewer for few pictures.

    Raises:
        UserError: no picture, more unusable ones than `max_rejected_share`, or an unfit `out`.
    """
    _check_out(source, out)
    try:
        files = find_pictures(source, params.table(domain), root)
    except UserError as error:
        raise UserError(f"{called or f'data.{domain}'}: {error}") from error
    with whole_folder(out) as fresh:
        return _fill(fresh, files, params, domain, called, workers)


def _fill(
    folder: Path,
    files: list[PictureFile],
    params: DataParams,
    domain: Domain,
    called: str | None,
    workers: int | None,
) -> PrepareReport:
    geometry = Geometry(params.short_side, params.max_aspect, params.max_pixels, params.resize == "squash")
    results = progress(_load_all(files, geometry, workers), len(files), f"preparing {domain}")
    packed = _pack(zip((file.name for file in files), results, strict=True), folder / PIXELS_FILE, params.paired)
    _check_rejected(packed.rejected, len(files), params, domain, called)

    alone = len(packed.rows) == 1
    rows = _in_every_split(packed, folder / PIXELS_FILE) if alone else _split(packed, params, domain)
    write_index(folder, rows)
    write_table(folder / REJECTED_FILE, ("file", "reason"), packed.rejected)
    report = PrepareReport(
        domain=domain,
        found=len(files),
        kept=len(packed.rows),
        splits={split: [row.split for row in rows].count(split) for split in SPLITS},
        duplicates=packed.duplicates,
        rejected=packed.rejected,
        short_side=params.short_side,
        longest_side=max(max(row.height, row.width) for row in packed.rows),
        bytes=packed.bytes,
    )
    (folder / REPORT_FILE).write_text(report.to_json(), encoding="utf8")
    write_image(folder / CONTACT_SHEET_FILE, contact_sheet(folder))
    return report


def _split(packed: _Packed, params: DataParams, domain: Domain) -> list[IndexRow]:
    """The rows with their splits: by content, or by name where partners must share one."""
    shares = params.val_share, params.test_share
    if not params.paired:
        splits = assign_splits(packed.file_of, *shares)
        return [row._replace(split=splits[row.sha256]) for row in packed.rows]
    rows = [row._replace(split=split_of_name(pair_name(row.file), *shares)) for row in packed.rows]
    for split, share in zip(SPLITS, (1.0, *shares), strict=True):
        if share and split not in {row.split for row in rows}:
            raise UserError(
                f"data.{domain}: none of {len(rows)} pictures falls into split {split!r}, which goes by their names "
                "where data.paired is true; change data.val_share or data.test_share, or add pictures"
            )
    return rows


def _in_every_split(packed: _Packed, path: Path) -> list[IndexRow]:
    """A single picture as the training, the validation and the test picture: packed once for each."""
    (row,) = packed.rows
    pixels = path.read_bytes()
    path.write_bytes(pixels * len(SPLITS))
    packed.bytes = len(pixels) * len(SPLITS)
    return [row._replace(split=split, offset=len(pixels) * place) for place, split in enumerate(SPLITS)]


def _load_all(files: list[PictureFile], geometry: Geometry, workers: int | None) -> Iterator[Loaded | Rejected]:
    """The pictures in the order of `files`, over several processes where that pays."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = workers or max(1, min(cores, len(files) // PICTURES_PER_WORKER))
    load = partial(load_picture, geometry=geometry)
    if workers == 1:
        yield from map(load, files)
        return
    # spawn: a forked copy of a process with threads (the bar's, torch's) may hang
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            try:
                yield from pool.map(load, batch, chunksize=4)
            except BrokenProcessPool as error:
                raise UserError(
                    f"a worker process died while reading one of {batch[0].name!r} … {batch[-1].name!r}; "
                    "if memory ran out, lower data.max_pixels or the number of workers"
                ) from error


def _pack(results: Iterable[tuple[str, Loaded | Rejected]], path: Path, paired: bool) -> _Packed:
    packed = _Packed()
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


def _check_rejected(
    rejected: list[tuple[str, str]], found: int, params: DataParams, domain: Domain, called: str | None
) -> None:
    if len(rejected) <= params.max_rejected_share * found and len(rejected) < found:
        return
    shown = [f"  {file!r}: {reason}" for file, reason in rejected[:REASONS_SHOWN]]
    left = len(rejected) - len(shown)
    share = params.max_rejected_share
    allowed = f"the share of {share} that is allowed" if called else f"data.max_rejected_share {share} allows"
    raise UserError(
        "\n".join(
            [
                f"{called or f'data.{domain}'}: {len(rejected)} of {found} pictures can't be used, more than "
                f"{allowed}; mend or remove them:",
                *shown,
                *([f"  and {left} more"] if left else []),
            ]
        )
    )


def _check_out(source: Path, out: Path) -> None:
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{out} lies inside the pictures' folder {source}; give the folder of the pictures alone")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file is where the prepared folder should be; remove it")
    if out.is_dir() and any(out.iterdir()) and not (out / REPORT_FILE).is_file():
        raise UserError(f"{out}: holds other files than prepared pictures and would be replaced; empty it first")
