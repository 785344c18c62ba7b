"""Held-out pairs rendered by the model and by every baseline; what depends on one picture alone is done once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch

from quantart.evaluation import baselines
from quantart.evaluation.baselines import (
    ADAIN,
    BASELINES,
    COLOUR_MATCHED,
    CONTENT_DECODED,
    COPIED_CONTENT,
    COPIED_STYLE,
    STYLE_VQGAN,
    Painter,
    Rendering,
)
from quantart.evaluation.observed import Observed, Perception, Recent, observe
from quantart.evaluation.task import TransferTask
from quantart.images import pixels_to_float
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.metrics import MODEL

# Paintings come back in later pairs; photographs come in order and are done with after their pairs.
_STYLES_KEPT = 16


class PairRenderer:
    """Turns pairs of held-out pictures into observed pictures of every method.

    Args:
        batch_size: largest number of pairs in a call.
        painters: by method, what makes its pictures; they come first. Where `MODEL` is not among them and no other
            is, the model's own transfer is.
        extras: by method, likewise, after the baselines.
    """

    def __init__(
        self,
        model: ExperimentStage2,
        task: TransferTask,
        perception: Perception,
        *,
        batch_size: int,
        painters: Mapping[str, Painter] | None = None,
        extras: Mapping[str, Painter] | None = None,
    ) -> None:
        self._model = model
        self._task = task
        self._perception = perception
        self._painters = dict(painters or {})
        self._extras = dict(extras or {})
        self._contents = Recent(self._render_contents, keep=batch_size)
        self._styles = Recent(self._observe_styles, keep=max(batch_size, _STYLES_KEPT))

    @property
    def methods(self) -> list[str]:
        """Names in the order in which they are reported."""
        return [*(self._painters or [MODEL]), *BASELINES, *self._extras]

    @property
    def n_codes(self) -> int:
        """Size of the style codebook."""
        return int(self._model.config["n_embed"])

    def originals(self, numbers: Sequence[int]) -> tuple[Observed, Observed]:
        """Photographs and paintings of the pairs with these numbers."""
        contents = [content[COPIED_CONTENT] for content in self._contents(self._side(numbers, 0))]
        return Observed.join(contents), Observed.join(self._styles(self._side(numbers, 1)))

    def __call__(self, numbers: Sequence[int], content: Observed, style: Observed) -> Iterator[tuple[str, Observed]]:
        """Each method with its pictures of the pairs with these numbers, one method after the other.

        Args:
            content, style: what `originals` gave for these numbers.
        """
        for method in self._painters:
            yield method, self._painted(self._painters[method], content, style)
        if not self._painters:
            yield MODEL, self._observe(baselines.transfer(self._model, content.latents, style.latents))
        yield ADAIN, self._observe(baselines.adain(self._model, content.latents, style.latents))
        for method in (CONTENT_DECODED, STYLE_VQGAN):
            yield method, Observed.join([each[method] for each in self._contents(self._side(numbers, 0))])
        yield COLOUR_MATCHED, self._observe(baselines.colour_matched(self._model, content.pictures, style.pictures))
        yield COPIED_CONTENT, content
        yield COPIED_STYLE, style
        for method, paint in self._extras.items():
            yield method, self._painted(paint, content, style)

    def _side(self, numbers: Sequence[int], which: int) -> list[int]:
        return [self._task.pairs[number][which] for number in numbers]

    def _painted(self, paint: Painter, content: Observed, style: Observed) -> Observed:
        return self._observe(paint(content.pictures, style.pictures))

    def _render_contents(self, indices: list[int]) -> list[dict[str, Observed]]:
        photographs = pixels_to_float(self._task.contents.centre(indices, self._task.side).to(self._device))
        latents = self._model.content_latents(photographs)
        by_method = {
            COPIED_CONTENT: observe(self._perception, photographs, latents),
            STYLE_VQGAN: self._observe(baselines.style_vqgan(self._model, photographs)),
            CONTENT_DECODED: self._observe(baselines.content_decoded(self._model, latents)),
        }
        rows = zip(*(observed.rows() for observed in by_method.values()), strict=True)
        return [dict(zip(by_method, row, strict=True)) for row in rows]

    def _observe_styles(self, indices: list[int]) -> list[Observed]:
        paintings = pixels_to_float(self._task.styles.centre(indices, self._task.side).to(self._device))
        return observe(self._perception, paintings, self._model.style_latents(paintings)).rows()

    def _observe(self, rendering: Rendering) -> Observed:
        return observe(self._perception, *rendering)

    @property
    def _device(self) -> torch.device:
        return next(self._model.parameters()).device
