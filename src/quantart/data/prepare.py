"""From a source of pictures to a prepared folder: checked, cropped, scaled and split.

A prepared folder holds

- `shard-00000.arrow`, … and `index.arrow`: see `quantart.data.index`;
- `rejected.csv`: `file, reason` of each file that can't be used;
- `report.json`: the counts, duplicates, files that are no pictures, and sizes;
- `contact_sheet.jpg`: what the pictures look like.

The same pictures and parameters give the same bytes. A preparation that was killed goes on at the shards it was at.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from quantart.data.files import pair_name
from quantart.data.index import read_files, write_index
from quantart.data.packing import Geometry, forget_unread, work_key, write_shards
from quantart.data.pictures import REPORT_FILE, PackedPictures, write_table
from quantart.data.sources import find_pictures
from quantart.data.splits import assign_splits, split_of_name
from quantart.errors import UserError
from quantart.images.arrays import Picture, write_image
from quantart.images.grid import picture_grid
from quantart.machine.claim import claimed
from quantart.machine.disk import room_for
from quantart.machine.names import same_name
from quantart.machine.progress import progress
from quantart.machine.whole import resumed_folder
from quantart.vocabulary.names import SPLITS, Domain, Split

if TYPE_CHECKING:
    from quantart.params.data import DataParams

log = logging.getLogger(__name__)

REJECTED_FILE = "rejected.csv"
CONTACT_SHEET_FILE = "contact_sheet.jpg"

REASONS_SHOWN = 10
REASONS_COUNTED = 3

COLUMNS = 10  # of the contact sheet
ROWS_PER_SPLIT = 3
CELL = 112


@dataclass(frozen=True)
class PrepareReport:
    """What became of each picture: `found = kept + duplicates + rejected`. Sizes are in pixels."""

    domain: str
    found: int
    kept: int
    splits: dict[Split, int]
    """Kept pictures per split; where only one is kept, it is in every split."""
    duplicates: list[tuple[str, str]]
    """(file, the file kept in its place)."""
    rejected: list[tuple[str, str]]
    """(file, reason)."""
    passed_over: list[str]
    """Files that are no pictures; not among those found."""
    short_side: int
    longest_side: int
    bytes: int
    """Of the kept pictures' pixels."""

    def summary(self, lists: Path) -> str:
        """One line for the terminal: what became of every file, and where the lists are."""
        splits = ", ".join(f"{count} {split}" for split, count in self.splits.items())
        said = [f"{self.kept} used ({splits})", f"{len(self.duplicates)} duplicates"]
        said.append(f"{len(self.rejected)} set aside{_commonest(reason.split(':')[0] for _, reason in self.rejected)}")
        endings = _commonest(PurePosixPath(file).suffix.lower() or "no ending" for file in self.passed_over)
        said.append(f"{len(self.passed_over)} passed over as no pictures{endings}")
        return f"{self.domain}: {', '.join(said)}; all of them: {lists}"

    def to_json(self) -> str:
        duplicates, rejected = len(self.duplicates), len(self.rejected)
        report = {
            "domain": self.domain,
            "counts": {
                "found": self.found,
                "kept": self.kept,
                "duplicates": duplicates,
                "rejected": rejected,
                "passed_over": len(self.passed_over),
            },
            "splits": self.splits,
            "sizes": {"short_side": self.short_side, "longest_side": self.longest_side, "bytes": self.bytes},
            "duplicates": [{"file": file, "same_as": kept} for file, kept in self.duplicates],
            "rejected": [{"file": file, "reason": reason} for file, reason in self.rejected],
            "passed_over": self.passed_over,
        }
        return json.dumps(report, indent=2) + "\n"


def _commonest(reasons: Iterable[str]) -> str:
    """` (3 × broken picture, 1 × too small)`, and how many other reasons there are; nothing for none."""
    counts = Counter(reasons).most_common()
    shown = [f"{count} × {reason}" for reason, count in counts[:REASONS_COUNTED]]
    more = sum(count for _, count in counts[REASONS_COUNTED:])
    return f" ({', '.join([*shown, *([f'{more} × other'] if more else [])])})" if counts else ""


def prepare_domain(
    source: Path,
    out: Path,
    params: DataParams,
    *,
    domain: Domain,
    called: str | None = None,
    root: Path | None = None,
    workers: int | None = None,
    ray: str | None = None,
) -> PrepareReport:
    """Prepare all pictures of `source` into the folder `out`, which is replaced as a whole at the end.

    Args:
        source, root: see `find_pictures`.
        out: a new folder, an empty one, or an earlier prepared one.
        domain: named in the report; selects the table in `params` that describes the source.
        called: the option that gave the source, e.g. `--content`, for messages; None: `data.<domain>` of params.yaml.
        workers, ray: see `write_shards`.

    Raises:
        UserError: no picture, more unusable ones than `max_rejected_share`, or an unfit `out`. What was read is kept
            beside `out` for the next call with the same files.
    """
    _check_out(source, out)
    try:
        files, passed_over = find_pictures(source, params.table(domain), root)
    except UserError as error:
        raise UserError(f"{called or f'data.{domain}'}: {error.fault}", error.remedy) from error
    geometry = Geometry(params.short_side, params.max_aspect, params.max_pixels, params.resize == "squash")
    with _in_folder_of(out, domain, len(files), geometry, work_key(files, geometry)) as fresh:
        forget_unread(fresh)
        if done := sum(1 for _ in fresh.glob("shard-*")):
            log.info("%s: goes on where it was stopped; %d shards of pictures are done", domain, done)
        written = (
            file for shard in write_shards(files, geometry, fresh, workers=workers, ray=ray) for file in range(shard)
        )
        for _ in progress(written, len(files), f"preparing {domain}"):
            pass
        settled = _settle(read_files(fresh, len(files)), params.paired)
        _check_rejected(settled.rejected, len(files), params.max_rejected_share, domain, called)
        report = _finish(fresh, settled, passed_over, params, domain)
    log.info("%s", report.summary(out / REPORT_FILE))
    return report


@contextmanager
def _in_folder_of(out: Path, domain: Domain, files: int, geometry: Geometry, key: str) -> Iterator[Path]:
    """The `resumed_folder` of `out`; UserError where another process is at it, or the disk is full."""
    out.parent.mkdir(parents=True, exist_ok=True)
    size = files * 3 * geometry.short_side**2
    with (
        claimed(out.with_name(f".{out.name}.preparing")) as ours,
        room_for(f"preparing {domain}", size, out.parent, lambda: "run it again: it goes on"),
    ):
        if not ours:
            raise UserError(f"{out}: another process is preparing it", "wait until it has ended")
        with resumed_folder(out, key) as fresh:
            yield fresh


class _Settled(NamedTuple):
    """What becomes of each of the shards' `files`."""

    files: pa.Table
    kept: list[int]
    """Their rows in `files`."""
    duplicates: list[tuple[str, str]]
    rejected: list[tuple[str, str]]


def _settle(files: pa.Table, paired: bool) -> _Settled:
    settled = _Settled(files, [], [], [])
    file_of: dict[bytes, str] = {}
    file_named: dict[str, str] = {}
    columns = (files[column].to_pylist() for column in ("file", "sha256", "rejected"))
    for row, (name, sha256, fault) in enumerate(zip(*columns, strict=True)):
        if fault is not None:
            settled.rejected.append((name, fault))
        elif sha256 in file_of:
            settled.duplicates.append((name, file_of[sha256]))
        elif paired and (other := file_named.setdefault(pair_name(name), name)) != name:
            differs = " but for how its accents are coded" if same_name(other) == same_name(name) else ""
            settled.rejected.append((name, f"has the same name as {other}{differs}; partners are found by name"))
        else:
            file_of[sha256] = name
            settled.kept.append(row)
    return settled


def _finish(
    folder: Path, settled: _Settled, passed_over: list[str], params: DataParams, domain: Domain
) -> PrepareReport:
    """Write all but the shards."""
    kept = settled.files.take(settled.kept)
    if len(kept) == 1:  # a single picture is for training, validation and test
        places = {split: settled.kept for split in SPLITS}
    else:
        splits = _splits(kept, params, domain)
        places = {
            split: [row for row, own in zip(settled.kept, splits, strict=True) if own == split] for split in SPLITS
        }
    write_index(folder, settled.files, places)
    write_table(folder / REJECTED_FILE, ("file", "reason"), settled.rejected)
    height, width = (kept[side].to_numpy().astype(np.int64) for side in ("height", "width"))
    report = PrepareReport(
        domain=domain,
        found=len(settled.files),
        kept=len(kept),
        splits={split: len(own) for split, own in places.items()},
        duplicates=settled.duplicates,
        rejected=settled.rejected,
        passed_over=passed_over,
        short_side=params.short_side,
        longest_side=int(max(height.max(), width.max())),
        bytes=int((height * width * 3).sum()),
    )
    (folder / REPORT_FILE).write_text(report.to_json(), encoding="utf8")
    write_image(folder / CONTACT_SHEET_FILE, contact_sheet(folder))
    return report


def contact_sheet(folder: Path) -> Picture:
    """Pictures spread evenly over each split of a prepared folder."""
    rows: list[list[Picture]] = []
    titles: list[str] = []
    for split in SPLITS:
        pictures = PackedPictures(folder, split)
        shown = min(len(pictures), COLUMNS * ROWS_PER_SPLIT)
        chosen = [pictures.picture(i * len(pictures) // shown) for i in range(shown)]
        for start in range(0, shown, COLUMNS):
            rows.append(chosen[start : start + COLUMNS])
            titles.append(split if start == 0 else "")
    return picture_grid(rows, row_titles=titles, cell=CELL)


def _splits(kept: pa.Table, params: DataParams, domain: Domain) -> list[Split]:
    """The split of each picture: by content, or by name where partners must share one."""
    shares = params.val_share, params.test_share
    if not params.paired:
        hashes = [sha256.hex() for sha256 in kept["sha256"].to_pylist()]
        own = assign_splits(hashes, *shares)
        return [own[sha256] for sha256 in hashes]
    splits = [split_of_name(pair_name(file), *shares) for file in kept["file"].to_pylist()]
    for split, share in zip(SPLITS, (1.0, *shares), strict=True):
        if share and split not in splits:
            raise UserError(
                f"data.{domain}: none of {len(kept)} pictures is in split {split!r}, which their names decide because "
                "data.paired is true",
                "change data.val_share or data.test_share, or add pictures",
            )
    return splits


def _check_rejected(
    rejected: list[tuple[str, str]], found: int, allowed: float, domain: Domain, called: str | None
) -> None:
    if len(rejected) <= allowed * found and len(rejected) < found:
        return
    shown = [f"  {file!r}: {reason}" for file, reason in rejected[:REASONS_SHOWN]]
    left = [f"  and {len(rejected) - REASONS_SHOWN} more"] if len(rejected) > REASONS_SHOWN else []
    share = f"the allowed share of {allowed}" if called else f"data.max_rejected_share {allowed} allows"
    raise UserError(
        f"{called or f'data.{domain}'}: {len(rejected)} of {found} pictures can't be used, more than {share}",
        "\n".join(["correct or remove them:", *shown, *left]),
    )


def _check_out(source: Path, out: Path) -> None:
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise UserError(f"{out} is inside the pictures' folder {source}", "give a folder of nothing but the pictures")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file is in the place of the prepared folder", "remove it")
    if out.is_dir() and any(out.iterdir()) and not (out / REPORT_FILE).is_file():
        raise UserError(f"{out}: holds files other than prepared pictures and would be replaced", "empty it first")
