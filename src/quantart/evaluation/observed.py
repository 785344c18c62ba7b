"""Held-out pairs as the model and every baseline paint them, with the statistics that the metrics need.

What concerns a single picture is computed once, not again for each of its pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from quantart.data.pictures import PackedPictures
from quantart.evaluation import methods
from quantart.evaluation.methods import Painter, Rendering
from quantart.evaluation.metrics import colour_statistics
from quantart.evaluation.networks import FeatureNetwork
from quantart.evaluation.task import TransferTask, split_into_batches
from quantart.evaluation.texture import Texture, texture_of
from quantart.images.arrays import Picture, pixels_to_float, to_arrays
from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import gram_matrix, moments
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.methods import (
    ADAIN,
    COLOUR_MATCHED,
    CONTENT_DECODED,
    COPIED_CONTENT,
    COPIED_STYLE,
    MODEL,
    STYLE_VQGAN,
)

# Paintings return in later pairs. Photographs come in order, so each can be dropped after its last pair.
_STYLES_KEPT = 16
Value = TypeVar("Value")


class Perception(NamedTuple):
    """The networks that pictures are judged by, on the model's device."""

    lpips: LPIPS
    """Of the distances within pairs."""
    pool: FeatureNetwork
    """Of the distances between sets."""
    textures: Sequence[LPIPS] = ()
    """Those that judge texture and structure."""

    @property
    def set_metrics(self) -> tuple[str, str, str]:
        """Names of the Fréchet distance, the kernel distance, and the composite of content and Fréchet distance."""
        frechet = self.pool.frechet
        return frechet, self.pool.kernel, f"composite_{self.lpips.network}_{frechet.removeprefix('fd_')}"


class Observed(NamedTuple):
    """A batch of pictures and their statistics. `features`, `grams` and `moments` have one entry for each layer of
    `Perception.lpips`."""

    pictures: Tensor
    """`(b, 3, h, w)` in [-1, 1]."""
    latents: Tensor
    indices: Tensor | None
    """Both as in `Rendering`."""
    features: list[Tensor]
    """`(b, c, h, w)` each."""
    grams: list[Tensor]
    """`(b, c, c)` each."""
    moments: list[Tensor]
    """`(b, 2c)` each."""
    colours: Tensor
    """`(b, 6)`, from `colour_statistics`."""
    pooled: Tensor
    """`(b, d)`, from the `FeatureNetwork`."""
    textures: list[Texture]
    """One for each network that judges texture."""

    def rows(self) -> list[Observed]:
        """The pictures one by one, each as a batch of one."""
        # clones: a view of one row would keep the whole batch in memory
        return [_each(lambda t, i=i: t[i : i + 1].clone(), self) for i in range(len(self.pictures))]

    @classmethod
    def join(cls, rows: Sequence[Observed]) -> Observed:
        """The reverse of `rows`."""
        return cls(*_each(lambda *tensors: torch.cat(tensors), *rows))


def observe(perception: Perception, pictures: Tensor, latents: Tensor, indices: Tensor | None = None) -> Observed:
    """Pass pictures `(b, 3, h, w)` in [-1, 1] through the networks."""
    features = perception.lpips.features(pictures)
    return Observed(
        pictures=pictures,
        latents=latents,
        indices=indices,
        features=features,
        grams=[gram_matrix(layer) for layer in features],
        moments=[moments(layer) for layer in features],
        colours=colour_statistics(pictures),
        pooled=perception.pool(pictures),
        textures=[texture_of(network, pictures) for network in perception.textures],
    )


@dataclass(frozen=True)
class PairRenderer:
    """Turns pairs of held-out pictures into observed pictures of every method."""

    model: ExperimentStage2
    task: TransferTask
    perception: Perception
    batch_size: int
    """Largest number of pairs in a call."""
    painters: Mapping[str, Painter] = field(default_factory=dict)
    """By method, in place of the model's own transfer."""
    extras: Mapping[str, Painter] = field(default_factory=dict)
    """By method, further baselines."""

    def originals(self, numbers: Sequence[int]) -> tuple[Observed, Observed]:
        """Photographs and paintings of the pairs with these numbers."""
        styles = self._styles([self.task.pairs[number][1] for number in numbers])
        return self._of_contents(COPIED_CONTENT, numbers), Observed.join(styles)

    def __call__(self, numbers: Sequence[int], content: Observed, style: Observed) -> Iterator[tuple[str, Observed]]:
        """Each method with its pictures of the pairs with these numbers, given their `originals`."""
        model, pictures, latents = self.model, (content.pictures, style.pictures), (content.latents, style.latents)
        for method, paint in self.painters.items():
            yield method, self._observe(paint(*pictures))
        if not self.painters:
            yield MODEL, self._observe(methods.transfer(model, *latents))
        yield ADAIN, self._observe(methods.adain(model, *latents))
        for method in (CONTENT_DECODED, STYLE_VQGAN):
            yield method, self._of_contents(method, numbers)
        yield COLOUR_MATCHED, self._observe(methods.colour_matched(model, *pictures))
        yield COPIED_CONTENT, content
        yield COPIED_STYLE, style
        for method, paint in self.extras.items():
            yield method, self._observe(paint(*pictures))

    @torch.inference_mode()
    def paint(self, numbers: Sequence[int]) -> dict[int, dict[str, Picture]]:
        """The pictures of a few pairs, by the pair's number, then method."""
        painted: dict[int, dict[str, Picture]] = {number: {} for number in numbers}
        for batch in split_into_batches(numbers, self.batch_size):
            for method, output in self(batch, *self.originals(batch)):
                for number, picture in zip(batch, to_arrays(output.pictures), strict=True):
                    painted[number][method] = picture
        return painted

    @cached_property
    def _contents(self) -> RecentlyUsed[dict[str, Observed]]:
        return RecentlyUsed(self._render_contents, keep=self.batch_size)

    @cached_property
    def _styles(self) -> RecentlyUsed[Observed]:
        return RecentlyUsed(self._observe_styles, keep=max(self.batch_size, _STYLES_KEPT))

    def _of_contents(self, method: str, numbers: Sequence[int]) -> Observed:
        contents = self._contents([self.task.pairs[number][0] for number in numbers])
        return Observed.join([by_method[method] for by_method in contents])

    def _render_contents(self, indices: list[int]) -> list[dict[str, Observed]]:
        photographs = self._squares(self.task.contents, indices)
        latents = self.model.content_latents(photographs)
        by_method = {
            COPIED_CONTENT: observe(self.perception, photographs, latents),
            STYLE_VQGAN: self._observe(methods.style_vqgan(self.model, photographs)),
            CONTENT_DECODED: self._observe(methods.content_decoded(self.model, latents)),
        }
        rows = zip(*(observed.rows() for observed in by_method.values()), strict=True)
        return [dict(zip(by_method, row, strict=True)) for row in rows]

    def _observe_styles(self, indices: list[int]) -> list[Observed]:
        paintings = self._squares(self.task.styles, indices)
        return observe(self.perception, paintings, self.model.style_latents(paintings)).rows()

    def _squares(self, pictures: PackedPictures, indices: list[int]) -> Tensor:
        return pixels_to_float(pictures.centre(indices, self.task.side).to(next(self.model.parameters()).device))

    def _observe(self, rendering: Rendering) -> Observed:
        return observe(self.perception, *rendering)


class RecentlyUsed(Generic[Value]):
    """Values by index, computed in batches. Only the `keep` most recently used ones stay in memory."""

    def __init__(self, compute: Callable[[list[int]], list[Value]], keep: int) -> None:
        self._compute = compute
        self._keep = keep
        self._kept: dict[int, Value] = {}

    def __call__(self, indices: Sequence[int]) -> list[Value]:
        """The values of `indices`, in this order; an index may occur several times."""
        missing = [index for index in dict.fromkeys(indices) if index not in self._kept]
        known = self._kept | (dict(zip(missing, self._compute(missing), strict=True)) if missing else {})
        recent_last = [i for i in known if i not in indices] + list(dict.fromkeys(indices))
        self._kept = {index: known[index] for index in recent_last[-self._keep :]}
        return [known[index] for index in indices]


def _each(function: Callable[..., Tensor], *values: Any) -> Any:
    """Call `function` with the tensors at each place of values of one structure: tensors, None, lists, named tuples."""
    if values[0] is None or isinstance(values[0], Tensor):
        return None if values[0] is None else function(*values)
    parts = [_each(function, *places) for places in zip(*values, strict=True)]
    return type(values[0])(*parts) if isinstance(values[0], tuple) else parts
