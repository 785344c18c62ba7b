"""Pictures on disk to painted pictures on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from quantart.errors import UserError
from quantart.images.arrays import Picture, write_image
from quantart.images.decode import ImageError, decode_image, named, read_file, stored_size
from quantart.machine.claim import claimed
from quantart.models.alpha_beta import Fidelity
from quantart.stylize.grids import write_grids
from quantart.stylize.painter import Painter
from quantart.stylize.plan import Plan
from quantart.stylize.refine_progress import RefineProgress
from quantart.stylize.sizes import MAX_PIXELS, check_sides, check_size, check_steps, painted_size

Outcome = Literal["written", "kept", "broken"]


class Stylized(NamedTuple):
    """What became of a plan."""

    written: list[Path]  # painted pictures, then grids
    skipped: list[ImageError]  # why files could not be used; each fault begins with the file's name
    grids: int  # how many of `written` are grids
    kept: int  # pictures that were there already, or are made by another process

    @property
    def summary(self) -> str:
        """One line for the shell."""
        kept = f"{self.kept} left as they are (there already, or another process paints them)" if self.kept else ""
        if not self.written:
            return kept or "nothing could be painted"
        if len(self.written) == 1 and not kept:
            return str(self.written[0])
        pictures = len(self.written) - self.grids
        grids = f" and {self.grids} grids" if self.grids > 1 else " and a grid" if self.grids else ""
        said = f"{pictures} picture{'' if pictures == 1 else 's'}{grids} in {self.written[0].parent}"
        return f"{said}; {kept}" if kept else said


def stylize_files(
    plan: Plan, painter: Painter[Any, Any], fidelity: Fidelity, *, size: int | None = None, refine: int = 0
) -> Stylized:
    """Paint each content of the plan in the manner of each style, and write the pictures and the grids.

    Files that can't be read or have an unsuitable size are skipped; all others are painted. See `painted_size` on
    `size` and `Painter.paint` on `refine`. Several processes may work on one plan with `skip_existing`: each picture
    is painted by one of them.

    Raises:
        UserError: no picture can have that size or be refined so often, or a picture can't be written.
        StoppedBySignal: SIGINT or SIGTERM came while pictures were refined; the last one is written as it then was.
    """
    check_size(size)
    check_steps(refine)
    skipped: list[ImageError] = []
    styles = _seen_styles(plan, painter, skipped)
    wanted = [(number, place) for number in range(len(plan.contents)) for place in styles]
    pairs = [(n, place) for n, place in wanted if not (plan.skip_existing and plan.outputs[n][place].exists())]
    outcomes: dict[tuple[int, int], Outcome] = {}

    @lru_cache(maxsize=1)  # the pairs of one content follow each other
    def decoded(number: int) -> Picture | None:
        return _decoded_content(plan.contents[number], size, refine > 0, skipped)

    with RefineProgress(refine * len(fidelity.styled), len(pairs)) as refining:

        def painted(number: int, place: int) -> Picture | None:
            if (content := decoded(number)) is None:
                return None
            return painter.paint(content, styles[place], fidelity, size, refine, refining)

        for number, place in _shown(pairs) if len(pairs) > 1 and not refining.each else pairs:
            output = plan.outputs[number][place]
            outcome = _paint_pair(output, partial(painted, number, place), claim=plan.skip_existing)
            outcomes[number, place] = outcome
            refining.next_picture(output if outcome == "written" else None)
    written = [plan.outputs[n][place] for (n, place), outcome in outcomes.items() if outcome == "written"]
    grids = write_grids(plan, styles, {n for (n, _), outcome in outcomes.items() if outcome == "broken"})
    kept = len(wanted) - len(pairs) + list(outcomes.values()).count("kept")
    return Stylized(written + grids, skipped, len(grids), kept)


def _shown(pairs: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    from quantart.machine.progress import progress  # rich is slow to import

    return progress(pairs, len(pairs), "stylize")


def _paint_pair(output: Path, paint: Callable[[], Picture | None], *, claim: bool) -> Outcome:
    """Write what `paint` makes, unless the content is broken (None) or, with `claim`, another process makes it."""
    _make_folder(output.parent)
    with claimed(output) if claim else nullcontext(True) as ours:
        if not ours:
            return "kept"
        if (picture := paint()) is None:
            return "broken"
        write_image(output, picture)
        return "written"


def _decoded_content(file: Path, size: int | None, refined: bool, skipped: list[ImageError]) -> Picture | None:
    """The picture, if it can be painted at that size."""
    picture: Picture | None = None
    with _skipping(file, skipped):
        data = read_file(file)
        painted_size(*stored_size(data, max_pixels=MAX_PIXELS), size, refined=refined)
        picture = decode_image(data, max_pixels=MAX_PIXELS)
    return picture


def _seen_styles(plan: Plan, painter: Painter[Any, Any], skipped: list[ImageError]) -> dict[int, Picture]:
    """Usable styles by index in the plan, already scaled to the network's size to save memory."""
    styles: dict[int, Picture] = {}
    for place, file in enumerate(plan.styles):
        with _skipping(file, skipped):
            data = read_file(file)
            check_sides(*stored_size(data, max_pixels=MAX_PIXELS))
            styles[place] = painter.seen_of(decode_image(data, max_pixels=MAX_PIXELS))
    return styles


@contextmanager
def _skipping(file: Path, skipped: list[ImageError]) -> Iterator[None]:
    """Note why the file can't be used, once where it is both content and style."""
    try:
        with named(file):
            yield
    except ImageError as error:
        if str(error) not in map(str, skipped):
            skipped.append(error)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made: {error.strerror or error}") from error
