"""Stored codes: the frozen encoders' output for each training picture, written once, read by stage 2 in random order.

A folder holds

- `shard-00000.arrow`, …: a row for each of `SHARD` pictures, with `codes`, indices into the codebook, uint16 `(h, w)`
  (uint32 above 65,536 codes), and `latents`, those before quantisation, float16 `(c, h, w)`;
- `index.json`: the digest of the pictures, the number of copies, and the size of each shard.

Pictures have a row for each copy: first copy 0 of every picture (centred), then copy 1 (a random crop, perhaps
flipped), …. A shard is of one copy.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from quantart.data.arrow_files import SHARD, Shards, shard_sizes, write_shard_file
from quantart.errors import UserError

INDEX_FILE = "index.json"
ENCODE = "run `quantart encode`"
Column = Literal["codes", "latents"]
_COLUMNS: tuple[Column, ...] = get_args(Column)
_LARGEST = torch.finfo(torch.float16).max


def code_dtype(n_embed: int) -> type[np.unsignedinteger[Any]]:
    """The smaller of uint16 and uint32 that holds `n_embed` different codes."""
    return np.uint16 if n_embed <= 2**16 else np.uint32


def shards_of(pictures: int) -> int:
    """The number of shards of each copy."""
    return -(-pictures // SHARD)


def write_codes(folder: Path, number: int, codes: Tensor, latents: Tensor, n_embed: int) -> None:
    """Write the shard `number`: codes `(n, h, w)` below `n_embed`, and latents `(n, c, h, w)`.

    UserError where a latent is too large for float16, or not a number.
    """
    halves = latents.half()
    if not halves.isfinite().all():
        fault = f"latents up to {latents.abs().max():.3g}; float16, in which they are stored, ends at {_LARGEST:,.0f}"
        raise UserError(fault, "train the network of stage 1 again: its latents should be some units large")
    arrays = {"codes": codes.cpu().numpy().astype(code_dtype(n_embed)), "latents": halves.cpu().contiguous().numpy()}
    columns = [pa.FixedShapeTensorArray.from_numpy_ndarray(array) for array in arrays.values()]
    batch = pa.RecordBatch.from_arrays(columns, names=list(arrays))
    write_shard_file(folder, number, batch.schema, [batch])


def write_index(folder: Path, about: dict[str, Any], rows: int) -> None:
    """Write the index of the shards in the folder, which hold `rows` rows."""
    index = about | {"rows": rows, "shards": shard_sizes(folder)}
    (folder / INDEX_FILE).write_text(json.dumps(index, indent=2) + "\n", encoding="utf8")


class StoredCodes:
    """Reads a folder of codes; UserError where it holds none, or lacks a part of a shard.

    Attributes:
        index: the `about` that `write_index` was given.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self.index: dict[str, Any] = json.loads((folder / INDEX_FILE).read_text(encoding="utf8"))
            self._rows, sizes = self.index.pop("rows"), self.index.pop("shards")
        except (OSError, ValueError, KeyError):
            raise UserError(f"{folder}: no stored codes, or an older QuantArt's", ENCODE) from None
        if not self._rows:
            raise UserError(f"{folder}: made for the objective painting, which stores no codes", ENCODE)
        # a training reads the one or the other, and fetches no more of a store
        self._shards = {column: Shards(folder, sizes, ENCODE, column) for column in _COLUMNS}

    def __len__(self) -> int:
        return int(self._rows)

    @property
    def pictures(self) -> int:
        """Number of pictures the rows were made from."""
        return len(self) // int(self.index["copies"])

    def pictures_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The pictures that rows were made from: copy k of picture i is row k · pictures + i."""
        return rows % self.pictures

    def rows_of(self, pictures: NDArray[np.int64]) -> NDArray[np.int64]:
        """The rows made from these pictures: copy 0 of all of them, then copy 1, …."""
        copies = np.arange(int(self.index["copies"]))[:, None]
        return (copies * self.pictures + pictures).ravel()

    def check_crop(self, crop: int) -> None:
        """Raise UserError where crops of `crop` × `crop` codes don't fit into the stored ones; ask before cutting."""
        height, width = self._array(0, "codes").shape[-2:]
        if crop > min(height, width):
            fault = f"{self.folder}: {height} × {width} codes per picture are too few for crops of {crop}"
            raise UserError(f"{fault} (stage2.train.crop)", "run `quantart encode` again")

    def codes(self, rows: np.ndarray, crop: int | None = None, draws: np.ndarray | None = None) -> Tensor:
        """Codes of `rows`: int64 `(b, h, w)`, or `(b, crop, crop)` cut at the places `draws`, `(b, 2)` in [0, 1)."""
        return torch.from_numpy(self._cut("codes", rows, crop, draws).astype(np.int64))

    def latents(self, rows: np.ndarray, crop: int | None = None, draws: np.ndarray | None = None) -> Tensor:
        """Latents of `rows`, likewise: float32 `(b, c, h, w)` or `(b, c, crop, crop)`."""
        return torch.from_numpy(self._cut("latents", rows, crop, draws)).float()

    def _array(self, shard: int, column: Column) -> NDArray[Any]:
        """A column of a shard, mapped: `(n, h, w)` or `(n, c, h, w)`."""
        tensors = self._shards[column][shard][column].chunk(0)
        # not by to_numpy_ndarray, which imports pandas
        return np.from_dlpack(tensors.storage.values).reshape(len(tensors), *tensors.type.shape)

    @property
    def distant(self) -> bool:
        """Whether shards are fetched from a store."""
        return self._shards["codes"].distant

    def want(self, column: Column, rows: NDArray[np.int64]) -> None:
        """Begin to fetch the codes or the latents of rows that will be asked for."""
        self._shards[column].want(self._places(rows)[0].tolist())

    def _places(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Shards of rows, and the places there."""
        copies, pictures = np.divmod(rows, self.pictures)
        return copies * shards_of(self.pictures) + pictures // SHARD, pictures % SHARD

    def _cut(self, column: Column, rows: np.ndarray, crop: int | None, draws: np.ndarray | None) -> np.ndarray:
        places = zip(*(each.tolist() for each in self._places(rows)), strict=True)
        whole = [self._array(shard, column)[place] for shard, place in places]
        if crop is None or draws is None:
            return np.stack(whole)
        corners = (draws * [side - crop + 1 for side in whole[0].shape[-2:]]).astype(int)
        cut = zip(whole, corners.tolist(), strict=True)
        return np.stack([each[..., y : y + crop, x : x + crop] for each, (y, x) in cut])
