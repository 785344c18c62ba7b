"""Grids of painted pictures: a row for each content, a column for each style."""

from __future__ import annotations

from collections.abc import Container, Mapping
from pathlib import Path

import numpy as np

from quantart.images.arrays import Picture, resize, write_image
from quantart.images.decode import read_image
from quantart.images.grid import picture_grid
from quantart.stylize.plan import Plan
from quantart.stylize.sizes import MAX_PIXELS

GRID_CELL = 192  # pixels


def write_grids(plan: Plan, styles: Mapping[int, Picture], broken: Container[int]) -> list[Path]:
    """Write each grid whose pictures are all painted by now, unless it is newer than they are.

    Args:
        styles: the usable ones, by place in the plan.
        broken: numbers of the contents that can't be used.

    Returns:
        the grids written; none for a single style.
    """
    if len(styles) < 2:
        return []
    columns = ["", *(plan.styles[place].stem for place in styles)]
    header = [_thumbnail(picture) for picture in (np.full((1, 1, 3), 255, np.uint8), *styles.values())]
    written: list[Path] = []
    for first, grid in zip(range(0, len(plan.contents), plan.grid_rows), plan.grids, strict=True):
        numbers = [n for n in range(len(plan.contents))[first : first + plan.grid_rows] if n not in broken]
        painted = {n: [plan.outputs[n][place] for place in styles] for n in numbers}
        if not _due(grid, [file for files in painted.values() for file in files]):
            continue
        of_row = [(plan.contents[n], *files) for n, files in painted.items()]
        rows = [[_thumbnail(read_image(file, max_pixels=MAX_PIXELS)) for file in files] for files in of_row]
        titles = ["", *(plan.contents[n].stem for n in painted)]
        write_image(grid, picture_grid([header, *rows], columns, titles, cell=GRID_CELL))
        written.append(grid)
    return written


def _due(grid: Path, painted: list[Path]) -> bool:
    if not painted or not all(file.exists() for file in painted):
        return False
    return not grid.exists() or grid.stat().st_mtime_ns < max(file.stat().st_mtime_ns for file in painted)


def _thumbnail(picture: Picture) -> Picture:
    """At most `GRID_CELL` pixels a side, so that a grid needs little memory."""
    height, width = picture.shape[:2]
    scale = min(1.0, GRID_CELL / max(height, width))
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))
