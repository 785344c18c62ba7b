"""Held-out pairs rendered by the model and by every baseline; what depends on one picture alone is done once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from quantart.data.pictures import PackedPictures
from quantart.evaluation import baselines
from quantart.evaluation.baselines import Rendering
from quantart.evaluation.observed import Observed, Recent, observe
from quantart.images import pixels_to_float
from quantart.losses.lpips import LPIPS
from quantart.models.stage_2 import ExperimentStage2

MODEL = "model"
ADAIN = "adain"
COPIED_CONTENT = "copied_content"
COPIED_STYLE = "copied_style"
STYLE_VQGAN = "style_vqgan"
CONTENT_DECODED = "content_decoded"
BASELINES = (ADAIN, CONTENT_DECODED, STYLE_VQGAN, COPIED_CONTENT, COPIED_STYLE)
TITLES = {
    MODEL: "the model",
    ADAIN: "AdaIN on the latents, untrained",
    CONTENT_DECODED: "content latents decoded as a painting",
    STYLE_VQGAN: "the photograph reconstructed by the style VQGAN",
    COPIED_CONTENT: "the photograph itself",
    COPIED_STYLE: "the painting itself",
}

Painter = Callable[[Tensor, Tensor], Rendering]

# Paintings come back in later pairs; photographs come in order and are done with after their pairs.
_STYLES_KEPT = 32


class PairRenderer:
    """Turns pairs of held-out pictures into observed pictures of every method.

    Args:
        contents, styles: pictures of one split, with short sides of at least `side` pixels.
        side: of the central squares that are taken, in pixels.
        batch_size: largest number of pairs in a call.
        paint: makes the model's pictures from photographs and paintings, both `(b, 3, h, w)`, in place of its own
            transfer; the baselines stay the model's.
    """

    def __init__(
        self,
        model: ExperimentStage2,
        lpips: LPIPS,
        contents: PackedPictures,
        styles: PackedPictures,
        *,
        side: int,
        batch_size: int,
        paint: Painter | None = None,
    ) -> None:
        self._model = model
        self._paint = paint
        self._lpips = lpips
        self._content_pictures = contents
        self._style_pictures = styles
        self._side = side
        self._contents = Recent(self._render_contents, keep=batch_size)
        self._styles = Recent(self._observe_styles, keep=max(batch_size, _STYLES_KEPT))

    def __call__(self, pairs: Sequence[tuple[int, int]]) -> dict[str, Observed]:
        """Pictures by method, in the order of `pairs`; the copies are the pairs' own photographs and paintings."""
        contents = self._contents([content for content, _ in pairs])
        outputs = {method: Observed.join([content[method] for content in contents]) for method in contents[0]}
        content = outputs[COPIED_CONTENT]
        style = outputs[COPIED_STYLE] = Observed.join(self._styles([style for _, style in pairs]))
        outputs[MODEL] = self._observe(self._transferred(content, style))
        outputs[ADAIN] = self._observe(baselines.adain(self._model, content.latents, style.latents))
        return outputs

    def _transferred(self, content: Observed, style: Observed) -> Rendering:
        if self._paint is not None:
            return self._paint(content.pictures, style.pictures)
        return baselines.transfer(self._model, content.latents, style.latents)

    def _render_contents(self, indices: list[int]) -> list[dict[str, Observed]]:
        photographs = self._load(self._content_pictures, indices)
        latents = self._model.content_latents(photographs)
        by_method = {
            COPIED_CONTENT: observe(self._lpips, photographs, latents),
            STYLE_VQGAN: self._observe(baselines.style_vqgan(self._model, photographs)),
            CONTENT_DECODED: self._observe(baselines.content_decoded(self._model, latents)),
        }
        rows = zip(*(observed.rows() for observed in by_method.values()), strict=True)
        return [dict(zip(by_method, row, strict=True)) for row in rows]

    def _observe_styles(self, indices: list[int]) -> list[Observed]:
        paintings = self._load(self._style_pictures, indices)
        return observe(self._lpips, paintings, self._model.style_latents(paintings)).rows()

    def _observe(self, rendering: Rendering) -> Observed:
        return observe(self._lpips, rendering.pictures, rendering.latents, rendering.indices)

    def _load(self, pictures: PackedPictures, indices: list[int]) -> Tensor:
        device = next(self._model.parameters()).device
        return pixels_to_float(pictures.centre(indices, self._side).to(device))
