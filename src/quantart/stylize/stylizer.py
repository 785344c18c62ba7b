"""Two pictures of any size in, one stylised picture out."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from quantart.components.twin_transfer import PaintingFeatures
from quantart.images.arrays import Picture, crop_to_aspect, resize, resize_short_side, to_arrays, to_tensor
from quantart.images.decode import named
from quantart.machine.device import autocast
from quantart.models.fidelity import Fidelity, FidelityControl
from quantart.models.stage_2 import ExperimentStage2, Transferred
from quantart.stylize.sizes import MIN_REFINED, check_sides, painted_size
from quantart.stylize.strips import allow_large_pictures
from quantart.vocabulary.names import Variant
from quantart.vocabulary.shape import downsampling

STYLE_ASPECT = 2.0  # longer style pictures lose both ends, as in training
STYLE_CACHE = 64 * 2**20  # bytes: at least 128 styles at the presets' 256 pixels


class Stylizer:
    """Trained stage-2 networks as a function of pictures, on the device that holds them. Threads may share it.

    Everything up to the codes is computed in float32, the decoder in the device's `precision`. Up to `style_cache`
    bytes of features of styles are kept, so that a style that comes again is not encoded again, and up to
    `content_cache` bytes of latents of contents, by themselves and in the manner of a style: then another alpha or beta
    needs the decoder alone.
    """

    def __init__(
        self, model: ExperimentStage2 | FidelityControl, *, style_cache: int = STYLE_CACHE, content_cache: int = 0
    ) -> None:
        self._model = (model if isinstance(model, FidelityControl) else FidelityControl.of(model)).eval()
        # here alone: training and evaluation run the plain network, on pictures that are small
        allow_large_pictures(self._model)
        shape = self._model.ddconfig
        self._side = int(shape["resolution"])
        self._multiple = downsampling(shape)
        self.styles = LatentCache[Tensor | PaintingFeatures](style_cache)
        self.contents = LatentCache[Tensor](content_cache)
        self._device = next(self._model.parameters()).device
        self._autocast = autocast(self._device)

    def stylize(
        self, content: Picture, style: Picture, alpha: float | None = None, beta: float = 1.0, size: int | None = None
    ) -> Picture:
        """`paint` with a visual fidelity `alpha` and a style fidelity `beta`, see `FidelityControl`.

        Raises:
            UserError: also wrong `alpha` or `beta`, or networks that can't use that alpha.
        """
        return self.paint(content, style, self._model.fidelity(alpha, beta), size)

    @torch.inference_mode()
    def paint(
        self,
        content: Picture,
        style: Picture,
        fidelity: Fidelity,
        size: int | None = None,
        refine: int = 0,
        go_on: Callable[[], bool] = lambda: True,
    ) -> Picture:
        """Paint `content` in the manner of `style`, both uint8 `(h, w, 3)` of any size.

        The result has the content's aspect; see `painted_size` on `size`.

        Args:
            refine: steps by which each of `fidelity.styled` refines its answer, before beta and alpha mix them.
            go_on: asked before each of these steps; where it says no, the best so far is taken.

        Raises:
            ImageError: a picture is too small or too long, or can't be painted at that size.
            UserError: a size that no picture can have.
        """
        with named("content"):
            height, width = painted_size(content.shape[0], content.shape[1], size, refined=refine > 0)
        with named("style"):
            check_sides(style.shape[0], style.shape[1])
        scaled = resize(content, height, width)
        z = self._latents(scaled, style, fidelity, refine, go_on)
        with self._autocast():  # not before: it would choose other codes
            painted = self._model.decode(z, fidelity)
        return to_arrays(painted)[0][:height, :width]

    def seen_of(self, style: Picture) -> Picture:
        """What the network sees of a style picture: its middle, at most 2 : 1, its short side at the resolution."""
        return resize_short_side(crop_to_aspect(style, STYLE_ASPECT), self._side)

    def _latents(
        self, content: Picture, style: Picture, fidelity: Fidelity, refine: int, go_on: Callable[[], bool]
    ) -> Tensor:
        """As `FidelityControl.latents`, but with the caches; refined answers are not kept."""
        photograph, painting, models = content_hash(content), content_hash(style), self._model.models

        def of_content(v: Variant) -> Tensor:
            return self.contents.get((photograph, v), lambda: models[v].content_latents(self._padded(content)))

        contents = {v: of_content(v) for v in fidelity.variants}

        def of_style(v: Variant) -> Tensor | PaintingFeatures:
            return self.styles.get((painting, v), lambda: models[v].style_features(self._padded(self.seen_of(style))))

        def answer(v: Variant) -> Transferred:
            return models[v].transfer(contents[v], of_style(v))

        def of_pair(v: Variant) -> Tensor:
            return self.contents.get((photograph, painting, v), lambda: answer(v).z)

        if refine:
            answers = {v: answer(v).unquantised for v in fidelity.styled}
            styled = self._refined(answers, content, style, refine, go_on)
        else:
            styled = {v: of_pair(v) for v in fidelity.styled}
        return self._model.mixed_latents(contents, styled, fidelity)

    def _refined(
        self, answers: Mapping[Variant, Tensor], content: Picture, style: Picture, steps: int, go_on: Callable[[], bool]
    ) -> dict[Variant, Tensor]:
        from quantart.refining import refine  # the losses' networks take seconds to import

        seen = resize_short_side(self.seen_of(style), max(self._side, MIN_REFINED))
        pair = self._padded(content), to_tensor(seen).to(self._device)
        return {v: refine(self._model.models[v], answer, *pair, steps, go_on) for v, answer in answers.items()}

    def _padded(self, picture: Picture) -> Tensor:
        """`(1, 3, h, w)` in [-1, 1], mirrored on the right and below up to the network's multiple."""
        height, width = picture.shape[:2]
        # numpy's mirror goes back and forth where a picture is narrower than its padding; torch's refuses it
        padded = np.pad(picture, ((0, -height % self._multiple), (0, -width % self._multiple), (0, 0)), mode="reflect")
        return to_tensor(padded).to(self._device)


Kept = TypeVar("Kept", bound=Tensor | PaintingFeatures)


class CacheFigures(NamedTuple):
    """Counts since the cache was made, and what it holds now."""

    hits: int
    misses: int
    entries: int
    bytes: int


class LatentCache(Generic[Kept]):
    """Latents or features of pictures by key; the least recently used are dropped first. Threads may share it.

    What several threads ask for at once is computed once; the others wait for it. All together have at most
    `max_bytes`; what is larger by itself is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._pending: dict[Hashable, Future[Kept]] = {}
        self._bytes = self._hits = self._misses = 0

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under `key`, else `make()`, which is then kept. Callers must not write into it."""
        with self._lock:
            if key in self._kept:
                self._hits += 1
                self._kept.move_to_end(key)
                return self._kept[key]
            if pending := self._pending.get(key):
                self._hits += 1
            else:
                self._misses += 1
                ours = self._pending[key] = Future[Kept]()
        if pending:
            return pending.result()
        try:
            ours.set_result(make())
        except BaseException as error:
            ours.set_exception(error)
        with self._lock:
            del self._pending[key]
            if not ours.exception() and ours.result().nbytes <= self._max_bytes:
                self._kept[key] = ours.result()
                self._bytes += ours.result().nbytes
                while self._bytes > self._max_bytes:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return ours.result()

    def figures(self) -> CacheFigures:
        with self._lock:
            return CacheFigures(self._hits, self._misses, len(self._kept), self._bytes)


def content_hash(picture: Picture) -> str:
    """SHA-256 of the shape and the pixels of `(h, w, 3)`."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
