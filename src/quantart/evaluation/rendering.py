"""Held-out pairs rendered by the model and by every baseline; work on a single picture is done once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from quantart.data.pictures import PackedPictures
from quantart.evaluation import methods
from quantart.evaluation.methods import Painter, Rendering
from quantart.evaluation.observed import Observed, Perception, RecentlyUsed, observe
from quantart.evaluation.task import TransferTask, split_into_batches
from quantart.images.arrays import Picture, pixels_to_float, to_arrays
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.metrics import MODEL

# Paintings return in later pairs. Photographs come in order, so each can be dropped after its last pair.
_STYLES_KEPT = 16


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
        return self._of_contents(methods.COPIED_CONTENT, numbers), Observed.join(styles)

    def __call__(self, numbers: Sequence[int], content: Observed, style: Observed) -> Iterator[tuple[str, Observed]]:
        """Each method with its pictures of the pairs with these numbers, given their `originals`."""
        model, pictures, latents = self.model, (content.pictures, style.pictures), (content.latents, style.latents)
        for method, paint in self.painters.items():
            yield method, self._observe(paint(*pictures))
        if not self.painters:
            yield MODEL, self._observe(methods.transfer(model, *latents))
        yield methods.ADAIN, self._observe(methods.adain(model, *latents))
        for method in (methods.CONTENT_DECODED, methods.STYLE_VQGAN):
            yield method, self._of_contents(method, numbers)
        yield methods.COLOUR_MATCHED, self._observe(methods.colour_matched(model, *pictures))
        yield methods.COPIED_CONTENT, content
        yield methods.COPIED_STYLE, style
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
            methods.COPIED_CONTENT: observe(self.perception, photographs, latents),
            methods.STYLE_VQGAN: self._observe(methods.style_vqgan(self.model, photographs)),
            methods.CONTENT_DECODED: self._observe(methods.content_decoded(self.model, latents)),
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
