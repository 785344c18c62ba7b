"""Prepared pictures, memory-mapped: a split of any size opens at once, and none of its pictures is in memory."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from quantart.data.index import PREPARE_AGAIN, read_index
from quantart.errors import UserError
from quantart.images.arrays import Picture, centre_crop
from quantart.vocabulary.names import SPLITS, Split

if TYPE_CHECKING:
    import torch

Indices = Sequence[int] | NDArray[np.integer]

REPORT_FILE = "report.json"


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str | int]]) -> None:
    """Write a CSV file; text is quoted, so that every file name can be read back."""
    with path.open("w", encoding="utf8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(columns)
        writer.writerows(rows)


class _Text(Sequence[str]):
    """A column of the index, its bytes as hex; each item is made when it is asked for."""

    def __init__(self, column: pa.Array) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, index: Any) -> Any:
        item = self._column[index].as_py()
        return item.hex() if isinstance(item, bytes) else item


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
        rows, self.short_side, self.digest, self._shards = read_index(folder, split)
        self.files: Sequence[str] = _Text(rows["file"])
        self._sha256 = rows["sha256"]
        self.sha256: Sequence[str] = _Text(self._sha256)
        # not by to_numpy, which imports pandas
        self._places = [np.from_dlpack(rows[name]) for name in ("shard", "row", "height", "width")]
        self._folder = folder

    def __len__(self) -> int:
        return len(self.files)

    def picture(self, index: int) -> Picture:
        """One whole picture, uint8 `(h, w, 3)`: a read-only view of the file."""
        number, row, height, width = (int(column[index]) for column in self._places)
        shard = self._shards[number]
        if row >= len(shard) or shard["sha256"][row] != self._sha256[index]:
            fault = f"{self._folder}: was prepared again, with other pictures, while this process read it"
            raise UserError(fault, "start it again")
        return np.frombuffer(shard["pixels"][row].as_buffer(), np.uint8).reshape(height, width, 3)

    @property
    def distant(self) -> bool:
        """Whether pictures are fetched from a store."""
        return self._shards.distant

    def want(self, indices: Indices) -> None:
        """Begin to fetch pictures that will be asked for."""
        self._shards.want(self._places[0][indices].tolist())

    def unmap(self) -> None:
        """See `Shards.unmap`."""
        self._shards.unmap()

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


def some_pictures(folder: Path, split: Split) -> PackedPictures:
    """The pictures of a split; UserError where it has none."""
    pictures = PackedPictures(folder, split)
    if not len(pictures):
        remedy = "add pictures" if split == "train" else f"raise data.{split}_share or add pictures"
        raise UserError(f"{folder}: no picture in split {split!r}", remedy)
    return pictures


def _random_crop(picture: Picture, side: int, draws: NDArray[np.float64]) -> Picture:
    top = int(draws[0] * (picture.shape[0] - side + 1))
    left = int(draws[1] * (picture.shape[1] - side + 1))
    crop = picture[top : top + side, left : left + side]
    return crop[:, ::-1] if draws[2] < 0.5 else crop


def _to_batch(crops: list[Picture]) -> torch.Tensor:
    import torch

    return torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).contiguous()
