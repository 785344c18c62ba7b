"""From a source of pictures to one packed file: checked, cropped, scaled and split.

A prepared folder holds

- `pictures.bin`: the pictures one after another, uint8, row by row, three channels;
- `index.csv`: `file, sha256, split, height, width, offset` of each, in the order of the file names;
- `rejected.csv`: `file, reason` of each file that can't be used;
- `report.json`: the counts, duplicates, files that are no pictures, and sizes;
- `contact_sheet.jpg`: what the pictures look like.

The same pictures and parameters give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from quantart.data.files import pair_name
from quantart.data.packing import Geometry, Packed, load_all, pack
from quantart.data.pictures import PIXELS_FILE, REPORT_FILE, IndexRow, PackedPictures, write_index, write_table
from quantart.data.sources import find_pictures
from quantart.errors import UserError
from quantart.images.arrays import Picture, write_image
from quantart.images.grid import picture_grid
from quantart.machine.progress import progress
from quantart.machine.whole import whole_folder
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
    """Of `pictures.bin`."""

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
) -> PrepareReport:
    """Prepare all pictures of `source` into the folder `out`, which is replaced as a whole at the end.

    Args:
        source, root: see `find_pictures`.
        out: a new folder, an empty one, or an earlier prepared one.
        domain: named in the report; selects the table in `params` that describes the source.
        called: the option that gave the source, e.g. `--content`, for messages; None: `data.<domain>` of params.yaml.
        workers: see `load_all`.

    Raises:
        UserError: no picture, more unusable ones than `max_rejected_share`, or an unfit `out`.
    """
    _check_out(source, out)
    try:
        files, passed_over = find_pictures(source, params.table(domain), root)
    except UserError as error:
        raise UserError(f"{called or f'data.{domain}'}: {error.fault}", error.remedy) from error
    geometry = Geometry(params.short_side, params.max_aspect, params.max_pixels, params.resize == "squash")
    results = progress(load_all(files, geometry, workers), len(files), f"preparing {domain}")
    with whole_folder(out) as fresh:
        packed = pack(zip((file.name for file in files), results, strict=True), fresh / PIXELS_FILE, params.paired)
        _check_rejected(packed.rejected, len(files), params.max_rejected_share, domain, called)
        report = _finish(fresh, packed, passed_over, params, domain)
    log.info("%s", report.summary(out / REPORT_FILE))
    return report


def _finish(folder: Path, packed: Packed, passed_over: list[str], params: DataParams, domain: Domain) -> PrepareReport:
    """Write all but the packed file."""
    if len(packed.rows) == 1:  # a single picture is for training, validation and test: packed once for each
        row, pixels = packed.rows[0], (folder / PIXELS_FILE).read_bytes()
        (folder / PIXELS_FILE).write_bytes(pixels * len(SPLITS))
        rows = [row._replace(split=split, offset=place * row.bytes) for place, split in enumerate(SPLITS)]
    else:
        rows = _split(packed.rows, params, domain)
    write_index(folder, rows)
    write_table(folder / REJECTED_FILE, ("file", "reason"), packed.rejected)
    report = PrepareReport(
        domain=domain,
        found=len(packed.rows) + len(packed.duplicates) + len(packed.rejected),
        kept=len(packed.rows),
        splits={split: [row.split for row in rows].count(split) for split in SPLITS},
        duplicates=packed.duplicates,
        rejected=packed.rejected,
        passed_over=passed_over,
        short_side=params.short_side,
        longest_side=max(max(row.height, row.width) for row in packed.rows),
        bytes=sum(row.bytes for row in rows),
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


def _split(rows: list[IndexRow], params: DataParams, domain: Domain) -> list[IndexRow]:
    """The rows with their splits: by content, or by name where partners must share one."""
    shares = params.val_share, params.test_share
    if not params.paired:
        splits = assign_splits((row.sha256 for row in rows), *shares)
        return [row._replace(split=splits[row.sha256]) for row in rows]
    rows = [row._replace(split=split_of_name(pair_name(row.file), *shares)) for row in rows]
    for split, share in zip(SPLITS, (1.0, *shares), strict=True):
        if share and split not in {row.split for row in rows}:
            raise UserError(
                f"data.{domain}: none of {len(rows)} pictures is in split {split!r}, which their names decide because "
                "data.paired is true",
                "change data.val_share or data.test_share, or add pictures",
            )
    return rows


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


def split_of(sha256_hex: str, val_share: float, test_share: float) -> Split:
    """The split of a picture by its content alone: adding or renaming pictures moves no other, in either domain.

    The test pictures come first on the scale, so that changing `val_share` does not change them.
    """
    place = int(sha256_hex[:13], 16) / 16**13  # 52 bits: exact as a float, in [0, 1)
    if place < test_share:
        return "test"
    return "val" if place < test_share + val_share else "train"


def split_of_name(name: str, val_share: float, test_share: float) -> Split:
    """The split of a picture by its name alone: partners share both."""
    return split_of(hashlib.sha256(name.encode()).hexdigest(), val_share, test_share)


def assign_splits(hashes: Iterable[str], val_share: float, test_share: float) -> dict[str, Split]:
    """`split_of` for each picture of a domain, but with no split left empty by chance in a small collection.

    An empty split whose share is not 0 takes one picture from the largest split if that has more than one. Training
    comes first.
    """
    splits = {sha256: split_of(sha256, val_share, test_share) for sha256 in sorted(hashes)}
    shares: dict[Split, float] = {"train": 1.0, "test": test_share, "val": val_share}
    for split, share in shares.items():
        if not share or not splits or split in splits.values():
            continue
        largest, size = Counter(splits.values()).most_common(1)[0]
        if size > 1 or split == "train":
            splits[next(sha256 for sha256, own in splits.items() if own == largest)] = split
    return splits
