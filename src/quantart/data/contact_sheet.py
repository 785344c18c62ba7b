"""A prepared folder at a glance."""

from __future__ import annotations

from pathlib import Path

from quantart.data.pictures import PackedPictures
from quantart.images.arrays import Picture
from quantart.images.grid import picture_grid
from quantart.vocabulary.names import SPLITS

COLUMNS = 10
ROWS_PER_SPLIT = 3
CELL = 112


def contact_sheet(folder: Path) -> Picture:
    """Pictures spread evenly over each split of a prepared folder, uint8 `(h, w, 3)`."""
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
