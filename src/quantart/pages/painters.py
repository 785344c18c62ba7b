"""The models that a page offers, opened when they are chosen, and what each paints within its limits."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mlflow.models.model import MODEL_CONFIG, Model
from mlflow.pyfunc import FLAVOR_NAME

from quantart.errors import UserError
from quantart.images.arrays import Picture, resize
from quantart.images.decode import decode_image, named, read_file
from quantart.models.alpha_beta import Fidelity, checked_fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.folder import PACKAGED, is_address
from quantart.models.shipped import SHIPPED
from quantart.pages.stopping import allow_stopping
from quantart.project import Project
from quantart.registry.versions import registered_addresses
from quantart.serving.requests import Limits, sent_size
from quantart.serving.server import fetch_model
from quantart.stylize.networks import named_networks
from quantart.stylize.sizes import painted_size
from quantart.stylize.stylizer import Stylizer

PROJECT = "this project"
OPEN = 3  # models whose networks are kept in memory
CONTENT_CACHE = 2**28  # bytes of latents of photographs that each keeps: about 30 pictures of 512 × 512 pixels


def offered_models(project: Project | None, given: Sequence[str]) -> list[str]:
    """Folders, addresses and the model that comes with the package, to choose from; a page opens on the first."""
    found = list(given)
    if project and project.trained_variants:
        found.append(PROJECT)
    found.append(SHIPPED)
    if project:
        found += registered_addresses()
    return list(dict.fromkeys(found))


class Painted(NamedTuple):
    """A photograph at the size at which it was painted, and the painting of it: `(h, w, 3)`."""

    before: Picture
    after: Picture
    seconds: float


class Painter:
    """One model and its limits."""

    def __init__(self, networks: FidelityControl, default: Fidelity, limits: Limits) -> None:
        self.limits = limits
        self.default = default
        self.mixes = networks.discrete is not None and networks.continuous is not None
        self._networks = networks
        self._stylizer = Stylizer(networks, style_cache=limits.style_cache, content_cache=CONTENT_CACHE)
        allow_stopping(networks)
        # decoding a large photograph takes as long as painting it
        self._photograph = lru_cache(8)(self._read_photograph)
        self._painting = lru_cache(64)(self._read_painting)

    def fidelity(self, alpha: float | None, beta: float) -> Fidelity:
        """Without `alpha`, or with a single network, the model's own alpha; a `UserError` names a wrong value."""
        return self._networks.fidelity(self.default.alpha if alpha is None or not self.mixes else alpha, beta)

    def paint(self, photograph: Path, painting: Path, fidelity: Fidelity, size: int) -> Painted:
        """Paint one file in the manner of another, both of which must not change any more.

        Args:
            size: pixels of the long side, see `painted_size`.

        Raises:
            ImageError: a file is no picture within the limits, or can't be painted at that size.
            UserError: a size that no picture can have.
        """
        before, style = self._photograph(photograph, size), self._painting(painting)
        start = time.monotonic()
        after = self._stylizer.paint(before, style, fidelity, max(before.shape[:2]))
        return Painted(before, after, time.monotonic() - start)

    def _read_photograph(self, file: Path, size: int) -> Picture:
        with named("photograph"):
            picture = self._decoded(file)
            height, width = picture.shape[:2]
            return resize(picture, *painted_size(height, width, size, self.limits.max_size))

    def _read_painting(self, file: Path) -> Picture:
        with named("painting"):
            return self._stylizer.seen_of(self._decoded(file))

    def _decoded(self, file: Path) -> Picture:
        data = read_file(file)
        sent_size(data, self.limits)  # before a pixel is decoded
        return decode_image(data, max_pixels=self.limits.max_pixels, still=True)


class Painters:
    """The offered models by address; the `OPEN` last used stay open. Threads may share it.

    Args:
        limits: override those of each model, as for `quantart serve`.
    """

    def __init__(self, project: Project | None, given: Sequence[str], limits: Mapping[str, int]) -> None:
        self.offered = offered_models(project, given)
        self._project = project
        self._limits = limits
        self._lock = threading.Lock()
        self._open = lru_cache(OPEN)(self._opened)

    def painter(self, model: str) -> Painter:
        """One of the offered models, opened.

        Raises:
            UserError: it is not among them, or no longer there.
        """
        if model not in self.offered:
            raise UserError(f"model = {model!r}: not offered", f"use one of {', '.join(self.offered)}")
        with self._lock:
            return self._open(model)

    def _opened(self, model: str) -> Painter:
        if model == PROJECT and self._project:
            trained = self._project.trained_variants
            networks, _ = named_networks([str(self._project.stage2_model(variant)) for variant in trained], None)
            default = checked_fidelity(None, 1.0, trained, self._project.params().export.variant)
            return Painter(networks, default, Limits.of(self._limits))
        if model == SHIPPED:
            return Painter(*named_networks([SHIPPED], None), Limits.of(self._limits))
        folder = fetch_model(model) if is_address(model) else Path(model)
        config: dict[str, Any] = {}
        if (folder / PACKAGED).is_file():
            config = Model.load(folder).flavors[FLAVOR_NAME].get(MODEL_CONFIG) or {}
        return Painter(*named_networks([str(folder)], None), Limits.of({**config, **self._limits}))
