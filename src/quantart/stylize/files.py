"""Pictures on disk to painted pictures on disk, by the networks of a project, of folders or of MLflow addresses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quantart.errors import UserError
from quantart.images.arrays import Picture, resize, write_image
from quantart.images.decode import ImageError, decode_image, named, read_file, stored_size
from quantart.images.grid import picture_grid
from quantart.machine.device import default_device
from quantart.machine.progress import progress
from quantart.models.fidelity import Fidelity, FidelityControl, checked_fidelity
from quantart.models.pretrained import WEIGHTS
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project
from quantart.stylize.plan import Plan
from quantart.stylize.sizes import MAX_PIXELS, check_sides, check_size, painted_size
from quantart.stylize.stylizer import Stylizer
from quantart.vocabulary.names import VARIANTS

GRID_CELL = 192  # pixels


class Networks(NamedTuple):
    """Stage-2 networks, one of each variant at most, and the fidelity that they are used with."""

    control: FidelityControl
    fidelity: Fidelity


def project_networks(project: Project, alpha: float | None, beta: float = 1.0) -> Networks:
    """The trained networks of a project that `alpha` needs; by default the one that the project exports.

    Raises:
        UserError: as `checked_fidelity`, or nothing is trained.
    """
    default = project.params().export.variant
    trained = [variant for variant in VARIANTS if project.stage2_model(variant).is_dir()]
    if not trained:
        folder = project.stage2_model(default)
        raise UserError(f"{folder}: not trained yet", "`make run` or `dvc repro` trains it, or give --model")
    fidelity = checked_fidelity(alpha, beta, trained, default)
    return Networks(_opened([project.stage2_model(variant) for variant in fidelity.variants]), fidelity)


def named_networks(models: list[str], alpha: float | None, beta: float = 1.0) -> Networks:
    """The networks in folders, or at MLflow addresses, each of which may hold both variants.

    Without `alpha` it is the default of the model, where a single packaged one is given, else of `FidelityControl`.

    Raises:
        UserError: as `FidelityControl`, or a folder or address holds no network.
    """
    found: list[Path] = []
    for model in models:
        if not is_address(model):
            found.append(Path(model))
            continue
        package, default = _download(model)
        found += sorted(file.parent for file in package.rglob(WEIGHTS))
        if alpha is None and len(models) == 1:
            alpha = default
    if len(found) > 2:
        raise UserError(f"--model {', '.join(models)}: {len(found)} networks", "give one of each variant")
    control = _opened(found)
    return Networks(control, control.fidelity(alpha, beta))


def is_address(model: str) -> bool:
    """Whether `model` is an address in MLflow (`models:/…`, `runs:/…`), not a folder."""
    return ":/" in model


def _opened(folders: list[Path]) -> FidelityControl:
    return FidelityControl.of(*map(ExperimentStage2.from_pretrained, folders)).to(default_device())


def _download(model: str) -> tuple[Path, float | None]:
    """The folder at an MLflow address, with at least one network in it, and a packaged model's default alpha."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        package = Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as error:
        raise UserError(f"--model {model}: {str(error).splitlines()[0]}") from None
    if not any(package.rglob(WEIGHTS)):
        raise UserError(f"--model {model}: holds no QuantArt network (no {WEIGHTS} in it)")
    schema = Model.load(package).get_params_schema() if (package / "MLmodel").is_file() else None
    return package, next((param.default for param in schema or () if param.name == "alpha"), None)


class Stylized(NamedTuple):
    """What became of a plan."""

    written: list[Path]  # painted pictures, then grids
    skipped: list[ImageError]  # why files could not be used; each fault begins with the file's name
    grids: int  # how many of `written` are grids

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


def stylize_files(plan: Plan, networks: Networks, *, size: int | None = None) -> Stylized:
    """Paint each content of the plan in the manner of each style, and write the pictures and the grids.

    Files that can't be read or have an unsuitable size are skipped; all others are painted. See `painted_size` on
    `size`.

    Raises:
        UserError: no picture can have that size, or a picture can't be written.
    """
    check_size(size)
    stylizer = Stylizer(networks.control)
    skipped: list[ImageError] = []
    styles: dict[int, Picture] = {}  # by place in the plan, as the network sees them: so they are small
    for place, file in enumerate(plan.styles):
        with _skipping(file, skipped):
            data = read_file(file)
            check_sides(*stored_size(data, max_pixels=MAX_PIXELS))
            styles[place] = stylizer.seen_of(decode_image(data, max_pixels=MAX_PIXELS))
    pairs: list[tuple[Path, int, Path]] = []  # a content whose header is good, the place of a style, their output
    for file, outputs in zip(plan.contents, plan.outputs, strict=True):
        with _skipping(file, skipped):
            painted_size(*stored_size(read_file(file), max_pixels=MAX_PIXELS), size)
            pairs += [(file, place, outputs[place]) for place in styles]

    @lru_cache(maxsize=1)  # the pairs of one content follow each other
    def decoded(file: Path) -> Picture | None:
        content: Picture | None = None
        with _skipping(file, skipped):
            content = decode_image(read_file(file), max_pixels=MAX_PIXELS)
        return content

    grid = _Grid(plan, styles)
    written: list[Path] = []
    for file, place, output in progress(pairs, len(pairs), "stylize") if len(pairs) > 1 else pairs:
        if (content := decoded(file)) is not None:
            painted = stylizer.paint(content, styles[place], networks.fidelity, size)
            _write(output, painted)
            written.append(output)
            grid.add(file.stem, content, painted)
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

    def add(self, title: str, content: Picture, painted: Picture) -> None:
        """What a content became in the next style, which is the first one if its row is complete or new."""
        columns = len(self._header)
        if columns < 3:  # fewer than two styles
            return
        if not self._rows or len(self._rows[-1][1]) == columns:
            self._rows.append((title, [_thumbnail(content)]))
        row = self._rows[-1][1]
        row.append(_thumbnail(painted))
        if len(row) == columns and len(self._rows) == self._plan.grid_rows:
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
