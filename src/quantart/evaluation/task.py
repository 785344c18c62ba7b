"""What is evaluated: which held-out pictures, paired how, cut to which size."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures


@dataclass(frozen=True)
class TransferTask:
    """Pairs of pictures for style transfer.

    Attributes:
        contents, styles: of one split each, with short sides of at least `side` pixels.
        pairs: indices `(content, style)` into the two.
        side: of the central squares that are evaluated, in pixels.
    """

    contents: PackedPictures
    styles: PackedPictures
    pairs: Pairs
    side: int

    @property
    def digest(self) -> str:
        """Hex sha256 over the pairs' pictures in their order, and their size: the task's identity."""
        pairs = (f"{self.contents.sha256[c]} {self.styles.sha256[s]}" for c, s in self.pairs)
        sizes = f"{self.side} of {self.contents.short_side} {self.styles.short_side}"
        return _digest([*pairs, sizes])

    def batches(self, size: int) -> list[list[int]]:
        """Numbers of pairs, `size` at a time, a photograph's pairs together."""
        return batches(sorted(range(len(self.pairs)), key=lambda number: self.pairs[number]), size)


@dataclass(frozen=True)
class ReconstructionTask:
    """Pictures `(central squares of `side` pixels)` that a VQGAN reconstructs."""

    pictures: PackedPictures
    side: int

    @property
    def digest(self) -> str:
        """Hex sha256 over the pictures and their size."""
        return _digest([*self.pictures.sha256, f"{self.side} of {self.pictures.short_side}"])


def batches(items: Sequence[int], size: int) -> list[list[int]]:
    """`items` in their order, `size` at a time."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def share(parts: Sequence[list[int]], rank: int, ranks: int) -> Iterator[list[int]]:
    """The batches of one of several processes: neighbouring ones, and as many as any other's to one."""
    low, high = (len(parts) * end // ranks for end in (rank, rank + 1))
    yield from parts[low:high]


def _digest(lines: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
