"""Stored codes: the frozen encoders' output for each picture, written once, read by stage 2 in random order.

For a split (the pipeline stores `train`) a folder holds

- `<split>_codes.npy`: uint16 `(n, h, w)`, indices into the codebook (uint32 above 65,536 codes);
- `<split>_latents.npy`: the latents before quantisation, bfloat16 stored as uint16 `(n, c, h, w)`;

and `index.json`: the digest of the pictures and the number of copies. Both arrays are memory-mapped. Training pictures
have a row for each copy: first copy 0 of every picture (centred), then copy 1 (a random crop, perhaps flipped), ….
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor

from quantart.errors import UserError
from quantart.machine.whole import fresh_folder, fresh_place, put_in_place

CODES = "{split}_codes.npy"
LATENTS = "{split}_latents.npy"


def code_dtype(n_embed: int) -> type[np.unsignedinteger[Any]]:
    """The smaller of uint16 and uint32 that holds `n_embed` different codes."""
    return np.uint16 if n_embed <= 2**16 else np.uint32


class CodeWriter:
    """Writes a folder of codes, which takes its place only when all is written.

    Of several processes each has a writer of its own and writes its slice of the rows into the same files.
    """

    def __init__(self, folder: Path, n_embed: int) -> None:
        self._folder = folder
        self._dtype = code_dtype(n_embed)
        self._state = PartialState()
        if self._state.is_main_process:
            fresh_folder(folder)

    def write(self, split: str, rows: int, batches: Iterator[tuple[Tensor, Tensor]], first: int = 0) -> None:
        """Write this process's slice of `rows` rows, from row `first` on, in batches as `encoded` yields them."""
        files: list[np.ndarray] = []
        for codes, latents in batches:
            if not files:
                files = self._open(split, (rows, *codes.shape[1:]), (rows, *latents.shape[1:]))
            end = first + len(codes)
            files[0][first:end] = codes.cpu().numpy()
            files[1][first:end] = latents.to(torch.bfloat16).cpu().contiguous().view(torch.uint16).numpy()
            first = end
        if not files:
            self._state.wait_for_everyone()  # as the processes that have rows do

    def finish(self, index: dict[str, Any]) -> None:
        """Move the folder to its place once all processes have written."""
        self._state.wait_for_everyone()
        if self._state.is_main_process:
            text = json.dumps(index, indent=2) + "\n"
            (fresh_place(self._folder) / "index.json").write_text(text, encoding="utf8")
            put_in_place(self._folder)
        self._state.wait_for_everyone()

    def _open(self, split: str, codes: tuple[int, ...], latents: tuple[int, ...]) -> list[np.ndarray]:
        """The files of codes and latents; the first process makes them, all write into them."""
        files = [fresh_place(self._folder) / name.format(split=split) for name in (CODES, LATENTS)]
        if self._state.is_main_process:
            dtypes: tuple[type[np.generic], ...] = (self._dtype, np.uint16)
            for file, dtype, shape in zip(files, dtypes, (codes, latents), strict=True):
                open_memmap(file, mode="w+", dtype=dtype, shape=shape)
        self._state.wait_for_everyone()
        return [open_memmap(file, mode="r+") for file in files]


class StoredCodes:
    """Reads one split of a folder of codes; UserError where it holds none."""

    def __init__(self, folder: Path, split: str) -> None:
        self.folder = folder
        try:
            self.index: dict[str, Any] = json.loads((folder / "index.json").read_text(encoding="utf8"))
            self._codes = np.load(folder / CODES.format(split=split), mmap_mode="r", allow_pickle=False)
            self._latents = np.load(folder / LATENTS.format(split=split), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            fault = f"{folder}: no stored codes of split {split!r} ({error})"
            raise UserError(fault, "run `quantart encode`") from None

    def __len__(self) -> int:
        return len(self._codes)

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
        height, width = self._codes.shape[-2:]
        if crop > min(height, width):
            fault = f"{self.folder}: {height} × {width} codes per picture are too few for crops of {crop}"
            raise UserError(f"{fault} (stage2.train.crop)", "run `quantart encode` again")

    def codes(self, rows: np.ndarray, crop: int | None = None, draws: np.ndarray | None = None) -> Tensor:
        """Codes of `rows`: int64 `(b, h, w)`, or `(b, crop, crop)` cut at the places `draws`, `(b, 2)` in [0, 1)."""
        return torch.from_numpy(_cut(self._codes, rows, crop, draws).astype(np.int64))

    def latents(self, rows: np.ndarray, crop: int | None = None, draws: np.ndarray | None = None) -> Tensor:
        """Latents of `rows`, likewise: float32 `(b, c, h, w)` or `(b, c, crop, crop)`."""
        return torch.from_numpy(_cut(self._latents, rows, crop, draws)).view(torch.bfloat16).float()


def _cut(array: np.ndarray, rows: np.ndarray, crop: int | None, draws: np.ndarray | None) -> np.ndarray:
    if crop is None or draws is None:
        return np.asarray(array[rows])
    corners = (draws * [side - crop + 1 for side in array.shape[-2:]]).astype(int)
    return np.stack([array[row][..., y : y + crop, x : x + crop] for row, (y, x) in zip(rows, corners, strict=True)])
