"""Trained networks as a function of pictures, by their graphs, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantart.errors import UserError
from quantart.graphs.run import Array, Graphs
from quantart.images.arrays import Picture
from quantart.models.alpha_beta import Fidelity
from quantart.models.folder import read_config
from quantart.stylize.painter import STYLE_CACHE, Painter
from quantart.vocabulary.names import VARIANTS, Variant


class Features(dict[str, Array]):
    """What the graph `transfer` takes from a painting."""

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in self.values())


class GraphPainter(Painter[Array, Features]):
    """The networks in folders that `have_graphs`, on the CPU in float32. Threads may share it.

    A discrete one alone paints as the continuous variant too: with the same weights, and its codebooks left out.
    """

    def __init__(self, *folders: Path, style_cache: int = STYLE_CACHE, content_cache: int = 0) -> None:
        configs = [read_config(folder) for folder in folders]
        super().__init__(configs[0]["ddconfig"], style_cache, content_cache)
        self._cosine = bool(configs[0]["cosine"])
        opened = [Graphs(folder) for folder in folders]
        self._graphs: dict[Variant, Graphs] = dict.fromkeys(VARIANTS, opened[0])
        self._graphs |= zip((config["variant"] for config in configs), opened, strict=True)

    def _content(self, variant: Variant, picture: Picture) -> Array:
        return self._graphs[variant].run("content", picture=_array(picture), codes=_codes(variant))["latents"]

    def _style(self, variant: Variant, picture: Picture) -> Features:
        return Features(self._graphs[variant].run("style", picture=_array(picture), codes=_codes(variant)))

    def _transfer(self, variant: Variant, content: Array, style: Features) -> Array:
        return self._graphs[variant].run("transfer", latents=content, codes=_codes(variant), **style)["styled"]

    def _refined(self, *_: Any) -> dict[Variant, Array]:
        raise UserError("refine: graphs have no gradients", "paint with the network by torch")

    def _mixed(self, contents: Mapping[Variant, Array], styled: Mapping[Variant, Array], fidelity: Fidelity) -> Array:
        def mixed(v: Variant) -> Array:
            z = contents[v]
            return z if fidelity.beta == 0.0 else self._projected(_mix(fidelity.beta, z, styled[v]))

        latents = [mixed(v) for v in reversed(fidelity.variants)]  # the continuous one first
        return _mix(fidelity.alpha, *latents) if len(latents) == 2 else latents[0]

    def _decoded(self, z: Array, fidelity: Fidelity) -> Picture:
        (painted,) = self._graphs[fidelity.variants[0]].run("decode", latents=z)["picture"]
        return ((painted + 1.0) * 127.5).round().clip(0, 255).astype(np.uint8).transpose(1, 2, 0)

    def _projected(self, z: Array) -> Array:
        return z / np.maximum(np.linalg.norm(z, axis=1, keepdims=True), 1e-12) if self._cosine else z


def _mix(share: float, a: Array, b: Array) -> Array:
    """(1 - share) · a + share · b; at 1 exactly b."""
    return b if share == 1.0 else a + share * (b - a)


def _array(picture: Picture) -> Array:
    """`(h, w, 3)` to `(1, 3, h, w)` in [-1, 1]."""
    return picture.transpose(2, 0, 1)[None].astype(np.float32) / 127.5 - 1.0


def _codes(variant: Variant) -> Any:
    return np.array(variant == "discrete")
