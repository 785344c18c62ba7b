"""What is evaluated: which held-out pictures, how they are paired, and to which size they are cropped."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures


@dataclass(frozen=True)
class TransferTask:
    """Pairs of pictures for style transfer: their central squares of `side` pixels."""

    contents: PackedPictures
    styles: PackedPictures
    pairs: Pairs
    """Indices `(content, style)` into the two."""
    side: int

    @property
    def digest(self) -> str:
        """Hex sha256 over the pairs' pictures, in order, and their size; equal digests mean the same task."""
        pairs = (f"{self.contents.sha256[c]} {self.styles.sha256[s]}" for c, s in self.pairs)
        sizes = f"{self.side} of {self.contents.short_side} {self.styles.short_side}"
        return _digest([*pairs, sizes])

    def batches(self, size: int) -> list[list[int]]:
        """Numbers of pairs, `size` at a time; the pairs of one photograph follow each other."""
        return split_into_batches(sorted(range(len(self.pairs)), key=lambda number: self.pairs[number]), size)


@dataclass(frozen=True)
class ReconstructionTask:
    """Pictures that a VQGAN reconstructs: their central squares of `side` pixels."""

    pictures: PackedPictures
    side: int

    @property
    def digest(self) -> str:
        """Hex sha256 over the pictures and their size; equal digests mean the same task."""
        return _digest([*self.pictures.sha256, f"{self.side} of {self.pictures.short_side}"])


def split_into_batches(items: Sequence[int], size: int) -> list[list[int]]:
    """`items` in their order, `size` at a time."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
