"""A request for one painted picture, and its answer as files."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import NamedTuple

from quantart.errors import UserError
from quantart.images.arrays import write_image
from quantart.pages.painters import Painted, Painters
from quantart.pages.server import gradio
from quantart.pages.stopping import until_stopped


class Settings(NamedTuple):
    """What a request asks for, in the order of the page's inputs."""

    photograph: str | None
    painting: str | None
    alpha: float | None
    beta: float
    size: int
    model: str

    @property
    def name(self) -> str:
        """Of the painted picture's file."""
        return f"{Path(self.photograph or '').stem}_{Path(self.painting or '').stem}"

    def paint(self, painters: Painters) -> Painted:
        """Paint it; a `UserError` says what is wrong with the request."""
        for name in ("photograph", "painting"):
            if not getattr(self, name):
                raise UserError(f"no {name} was sent")
        painter = painters.painter(self.model)
        fidelity = painter.fidelity(self.alpha, self.beta)
        return painter.paint(Path(self.photograph or ""), Path(self.painting or ""), fidelity, self.size)


async def painted(settings: Settings, painters: Painters) -> AsyncGenerator[Painted | None, None]:
    """None while it is painted, and then the picture; what is wrong with the request becomes a sentence on the page."""
    try:
        async with aclosing(until_stopped(lambda: settings.paint(painters))) as steps:
            async for step in steps:
                yield step
    except UserError as error:
        raise gradio.Error(str(error), duration=None, title="Can't be painted", print_exception=False) from error


def write_pair(picture: Painted, settings: Settings, folder: Path) -> tuple[str, str]:
    """The files of both pictures; the painted one has a name to be kept under."""
    before, after = Path(folder, "photograph.jpg"), Path(folder, f"{settings.name}.png")
    write_image(before, picture.before)
    write_image(after, picture.after)
    return str(before), str(after)


def sentence(picture: Painted, settings: Settings) -> str:
    height, width = picture.after.shape[:2]
    return f"{width} × {height} pixels by `{settings.model}` in {picture.seconds:.1f} s"
