"""Two pictures of any size in, one stylised picture out, whatever library computes it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import numpy as np

from quantart.images.arrays import Picture, crop_to_aspect, resize, resize_short_side
from quantart.images.decode import named
from quantart.models.alpha_beta import Fidelity
from quantart.stylize.cache import HasBytes, LatentCache, content_hash
from quantart.stylize.hold import Hold
from quantart.stylize.sizes import check_sides, painted_size
from quantart.vocabulary.names import Variant
from quantart.vocabulary.shape import downsampling

STYLE_ASPECT = 2.0  # longer style pictures lose both ends, as in training
STYLE_CACHE = (
    64 * 2**20
)  # bytes: about 56 square styles of quantart/open, at least 128 of the published network's 256 pixels

Latents = TypeVar("Latents", bound=HasBytes)
Features = TypeVar("Features", bound=HasBytes)


class Painter(ABC, Generic[Latents, Features]):
    """A trained network, or two, as a function of pictures. Threads may share it.

    Up to `style_cache` bytes of features of styles are kept, so that a style that comes again is not encoded again, and
    up to `content_cache` bytes of latents of contents, by themselves and in the manner of a style, so that for another
    alpha or beta the decoder alone runs.

    Args:
        shape: of the encoders and decoders, a `ddconfig`.
    """

    def __init__(self, shape: Mapping[str, Any], style_cache: int = STYLE_CACHE, content_cache: int = 0) -> None:
        self._side = int(shape["resolution"])
        self._multiple = downsampling(shape)
        self.styles = LatentCache[Features](style_cache)
        self.contents = LatentCache[Latents](content_cache)

    def paint(
        self,
        content: Picture,
        style: Picture,
        fidelity: Fidelity,
        size: int | None = None,
        refine: int = 0,
        go_on: Callable[[], bool] = lambda: True,
        hold: Hold | None = None,
    ) -> Picture:
        """Paint `content` in the manner of `style`, both uint8 `(h, w, 3)` of any size.

        The result has the content's aspect; see `painted_size` on `size`.

        Args:
            refine: steps by which each of `fidelity.styled` refines its answer, before beta and alpha mix them.
            go_on: asked before each of these steps; where it says no, the best so far is taken.
            hold: of the video to which this picture belongs.

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
        if hold:
            z = hold(self._padded(scaled), z)
        return self._decoded(z, fidelity)[:height, :width]

    def seen_of(self, style: Picture) -> Picture:
        """What the network sees of a style picture: its middle, at most 2 : 1, its short side at the resolution."""
        return resize_short_side(crop_to_aspect(style, STYLE_ASPECT), self._side)

    def _latents(
        self, content: Picture, style: Picture, fidelity: Fidelity, refine: int, go_on: Callable[[], bool]
    ) -> Latents:
        """As `FidelityControl.latents`, but with the caches; refined answers are not kept."""
        photograph, painting = content_hash(content), content_hash(style)

        def of_content(v: Variant) -> Latents:
            return self.contents.get((photograph, v), lambda: self._content(v, self._padded(content)))

        contents = {v: of_content(v) for v in fidelity.variants}

        def of_style(v: Variant) -> Features:
            return self.styles.get((painting, v), lambda: self._style(v, self._padded(self.seen_of(style))))

        def of_pair(v: Variant) -> Latents:
            kept = self.contents
            return kept.get((photograph, painting, v), lambda: self._transfer(v, contents[v], of_style(v)))

        if refine:
            features = {v: of_style(v) for v in fidelity.styled}
            styled = self._refined(contents, features, self._padded(content), style, refine, go_on)
        else:
            styled = {v: of_pair(v) for v in fidelity.styled}
        return self._mixed(contents, styled, fidelity)

    def _padded(self, picture: Picture) -> Picture:
        """Mirrored on the right and below up to the network's multiple."""
        height, width = picture.shape[:2]
        # numpy's mirror goes back and forth where a picture is narrower than its padding
        return np.pad(picture, ((0, -height % self._multiple), (0, -width % self._multiple), (0, 0)), mode="reflect")

    @abstractmethod
    def _content(self, variant: Variant, picture: Picture) -> Latents:
        """Of a padded photograph."""

    @abstractmethod
    def _style(self, variant: Variant, picture: Picture) -> Features:
        """Of a padded painting."""

    @abstractmethod
    def _transfer(self, variant: Variant, content: Latents, style: Features) -> Latents: ...

    @abstractmethod
    def _refined(
        self,
        contents: Mapping[Variant, Latents],
        styles: Mapping[Variant, Features],
        content: Picture,
        style: Picture,
        steps: int,
        go_on: Callable[[], bool],
    ) -> dict[Variant, Latents]:
        """The answer of each variant in `styles`, refined; `content` is padded."""

    @abstractmethod
    def _mixed(
        self, contents: Mapping[Variant, Latents], styled: Mapping[Variant, Latents], fidelity: Fidelity
    ) -> Latents: ...

    @abstractmethod
    def _decoded(self, z: Latents, fidelity: Fidelity) -> Picture: ...
