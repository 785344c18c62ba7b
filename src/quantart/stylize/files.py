"""Photographs and paintings on disk to painted pictures on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.images.decode import ImageError, decode_image, named, read_file, stored_size
from quantart.images.geometry import resize
from quantart.images.grid import picture_grid
from quantart.images.write import write_image
from quantart.machine.device import default_device
from quantart.machine.progress import progress
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.stylize.networks import Networks
from quantart.stylize.plan import Plan
from quantart.stylize.sizes import MAX_PIXELS, check_sides, check_size, painted_size
from quantart.stylize.stylizer import Stylizer

GRID_CELL = 192  # pixels


class Stylized(NamedTuple):
    """What became of a plan."""

    written: list[Path]
    """Painted pictures, then grids."""
    skipped: list[ImageError]
    """Why files could not be used; each fault begins with the file's name."""
    grids: int
    """How many of `written` are grids."""

    @property
    def summary(self) -> str:
        """One line for the shell."""
        if not self.written:
            return "nothing could be painted"
        if len(self.written) == 1:
            return str(self.written[0])
        pictures = len(self.written) - self.grids
        grids = f" and {self.grids} grids" if self.grids > 1 else " and a grid" if self.grids else ""
        return f"{pictures} picture{'s' if pictures > 1 else ''}{grids} in {self.written[0].parent}"


def stylize_files(plan: Plan, networks: Networks, *, beta: float = 1.0, size: int | None = None) -> Stylized:
    """Paint each content of the plan in the manner of each style, and write the pictures and the grids.

    Files that can't be read or have an unsuitable size are skipped; all others are painted.

    Args:
        beta: style fidelity.
        size: pixels of the painted pictures' long side, see `painted_size`.

    Raises:
        UserError: a folder holds no model, the models can't use that alpha or beta, no picture can have that size, or
            a picture can't be written.
    """
    check_size(size)
    control = FidelityControl.of(*map(ExperimentStage2.from_pretrained, networks.folders))
    control.settle(networks.alpha, beta)
    stylizer = Stylizer(control.to(default_device()))
    skipped: list[ImageError] = []
    styles: dict[int, Picture] = {}  # by place in the plan, as the network sees them: so they are small
    for place, file in enumerate(plan.styles):
        with _skipping(file, skipped):
            data = read_file(file)
            check_sides(*stored_size(data, max_pixels=MAX_PIXELS))
            styles[place] = stylizer.seen_of(decode_image(data, max_pixels=MAX_PIXELS))
    usable: list[tuple[Path, list[Path]]] = []  # contents, by their headers, and their outputs
    for file, outputs in zip(plan.contents, plan.outputs, strict=True):
        with _skipping(file, skipped):
            painted_size(*stored_size(read_file(file), max_pixels=MAX_PIXELS), size)
            usable.append((file, [outputs[place] for place in styles]))
    grid = _Grid(plan, styles)
    written: list[Path] = []

    def painted() -> Iterator[None]:
        for file, outputs in usable:
            content: Picture | None = None
            with _skipping(file, skipped):
                content = decode_image(read_file(file), max_pixels=MAX_PIXELS)
            row: list[Picture] = []
            for style, output in zip(styles.values(), outputs, strict=True):
                if content is not None:
                    row.append(stylizer.stylize(content, style, networks.alpha, beta, size))
                    _write(output, row[-1])
                    written.append(output)
                yield
            if content is not None:
                grid.add(file.stem, [content, *row])

    pairs = len(usable) * len(styles)
    for _ in progress(painted(), pairs, "stylize") if pairs > 1 else painted():
        pass
    grid.close()
    return Stylized(written + grid.written, skipped, len(grid.written))


@contextmanager
def _skipping(file: Path, skipped: list[ImageError]) -> Iterator[None]:
    """Note why the file can't be used, once where it is both content and style."""
    try:
        with named(file):
            yield
    except ImageError as error:
        if str(error) not in map(str, skipped):
            skipped.append(error)


def _write(path: Path, picture: Picture) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be made: {error.strerror or error}") from error
    write_image(path, picture)


class _Grid:
    """A row for each content, a column for each usable style; a grid is written when it is full."""

    def __init__(self, plan: Plan, styles: Mapping[int, Picture]) -> None:
        self.written: list[Path] = []
        self._plan = plan
        self._columns = ["", *(plan.styles[place].stem for place in styles)]
        corner = np.full((1, 1, 3), 255, np.uint8)
        self._header = [_thumbnail(picture) for picture in (corner, *styles.values())]
        self._rows: list[tuple[str, list[Picture]]] = []

    def add(self, title: str, row: list[Picture]) -> None:
        """A content, and what it became in each style."""
        if len(self._header) < 3:  # fewer than two styles
            return
        self._rows.append((title, [_thumbnail(picture) for picture in row]))
        if len(self._rows) == self._plan.grid_rows:
            self.close()

    def close(self) -> None:
        """Write what is left."""
        if not self._rows:
            return
        path = self._plan.grids[len(self.written)]
        titles, rows = zip(("", self._header), *self._rows, strict=True)
        _write(path, picture_grid(rows, self._columns, titles, cell=GRID_CELL))
        self.written.append(path)
        self._rows = []


def _thumbnail(picture: Picture) -> Picture:
    """At most `GRID_CELL` pixels a side, so that a grid needs little memory."""
    height, width = picture.shape[:2]
    scale = min(1.0, GRID_CELL / max(height, width))
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))
