"""Prepared pictures: one packed file, memory-mapped, and the index of where each picture is in it."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from quantart.errors import UserError
from quantart.images.arrays import Picture, centre_crop
from quantart.vocabulary.names import SPLITS, Split

if TYPE_CHECKING:
    import torch

Indices = Sequence[int] | NDArray[np.integer]

PIXELS_FILE = "pictures.bin"
INDEX_FILE = "index.csv"
REPORT_FILE = "report.json"
PREPARE_AGAIN = "run `quantart prepare` again"


class IndexRow(NamedTuple):
    """One packed picture: sizes in pixels, `offset` in bytes from the start of the packed file."""

    file: str
    sha256: str
    split: Split
    height: int
    width: int
    offset: int

    @property
    def bytes(self) -> int:
        return self.height * self.width * 3


def write_index(folder: Path, rows: Iterable[IndexRow]) -> None:
    write_table(folder / INDEX_FILE, IndexRow._fields, rows)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Write a CSV file; text is quoted, so that every file name can be read back."""
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(columns)
        writer.writerows(rows)


def read_index(folder: Path) -> list[IndexRow]:
    """Read `index.csv`; UserError where the folder was not prepared, or the packed file's size does not fit it."""
    path = folder / INDEX_FILE
    try:
        with path.open(encoding="utf8", newline="") as table:
            header, *lines = csv.reader(table)
        rows = [
            IndexRow(file, sha256, cast(Split, split), int(height), int(width), int(offset))
            for file, sha256, split, height, width, offset in lines
        ]
    except FileNotFoundError:
        raise UserError(f"{folder}: no prepared pictures here", "run `quantart prepare` first") from None
    except (ValueError, csv.Error):
        raise UserError(f"{path}: damaged", PREPARE_AGAIN) from None
    if tuple(header) != IndexRow._fields or not rows:
        raise UserError(f"{path}: no index of prepared pictures", PREPARE_AGAIN)
    pixels, expected = folder / PIXELS_FILE, sum(row.bytes for row in rows)
    actual = pixels.stat().st_size if pixels.is_file() else 0
    if actual != expected:
        raise UserError(f"{pixels}: has {actual} bytes instead of {expected}", PREPARE_AGAIN)
    return rows


class PackedPictures:
    """The pictures of one split of a prepared folder, in the order of their file names (see `read_index` for errors).

    Crops are cut at the stored scale: nothing is resized here.

    Attributes:
        files: path of each picture relative to the folder it came from.
        sha256: hex digest of each picture's original file.
        short_side: of every picture, in pixels; 0 where the split is empty.
        digest: hex sha256 over the split's pictures (content and stored size), which identifies the data of a run.
    """

    def __init__(self, folder: Path, split: Split) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is none of {', '.join(SPLITS)}")
        self._rows = [row for row in read_index(folder) if row.split == split]
        self._pixels = np.memmap(folder / PIXELS_FILE, dtype=np.uint8, mode="r")
        self.files = [row.file for row in self._rows]
        self.sha256 = [row.sha256 for row in self._rows]
        self.short_side = min((min(row.height, row.width) for row in self._rows), default=0)
        lines = (f"{row.sha256} {row.height} {row.width}\n" for row in self._rows)
        self.digest = hashlib.sha256("".join(lines).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.files)

    def picture(self, index: int) -> Picture:
        """One whole picture, uint8 `(h, w, 3)`: a read-only view of the file."""
        row = self._rows[index]
        return self._pixels[row.offset : row.offset + row.bytes].reshape(row.height, row.width, 3)

    def centre(self, indices: Indices, side: int) -> torch.Tensor:
        """The central square of each picture, uint8 `(b, 3, side, side)`."""
        self._check_side(side)
        return _to_batch([centre_crop(self.picture(i), side, side) for i in indices])

    def crops(self, indices: Indices, side: int, draws: NDArray[np.float64]) -> torch.Tensor:
        """A random square of each picture, half of them mirrored, uint8 `(b, 3, side, side)`.

        `draws` are `(b, 3)`, uniform in [0, 1): distance from the top and from the left; mirrored if below 0.5.
        """
        self._check_side(side)
        return _to_batch([_random_crop(self.picture(i), side, own) for i, own in zip(indices, draws, strict=True)])

    def _check_side(self, side: int) -> None:
        if side > self.short_side:
            fault = f"crops of {side} pixels do not fit into the prepared pictures of short side {self.short_side}"
            raise UserError(fault, PREPARE_AGAIN)


def _random_crop(picture: Picture, side: int, draws: NDArray[np.float64]) -> Picture:
    top = int(draws[0] * (picture.shape[0] - side + 1))
    left = int(draws[1] * (picture.shape[1] - side + 1))
    crop = picture[top : top + side, left : left + side]
    return crop[:, ::-1] if draws[2] < 0.5 else crop


def _to_batch(crops: list[Picture]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
