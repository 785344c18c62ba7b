"""Trained networks as a function of pictures, by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from quantart.components.twin_transfer import PaintingFeatures
from quantart.images.arrays import Picture, resize_short_side, to_arrays, to_tensor
from quantart.machine.device import autocast
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.stylize.painter import STYLE_CACHE, Painter
from quantart.stylize.sizes import MIN_REFINED
from quantart.stylize.strips import allow_large_pictures
from quantart.vocabulary.names import Variant


class Stylizer(Painter[Tensor, Tensor | PaintingFeatures]):
    """Trained stage-2 networks as a function of pictures, on the device that holds them. Threads may share it.

    Everything up to the codes is computed in float32, the decoder in the device's `precision`. See `Painter` on the
    caches.
    """

    def __init__(
        self, model: ExperimentStage2 | FidelityControl, *, style_cache: int = STYLE_CACHE, content_cache: int = 0
    ) -> None:
        self._model = (model if isinstance(model, FidelityControl) else FidelityControl.of(model)).eval()
        super().__init__(self._model.ddconfig, style_cache, content_cache)
        # for pictures too large for memory, and only here; quantart/open paints none that are (docs/stylize.md)
        allow_large_pictures(self._model)
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
    def _latents(
        self, content: Picture, style: Picture, fidelity: Fidelity, refine: int, go_on: Callable[[], bool]
    ) -> Tensor:
        return super()._latents(content, style, fidelity, refine, go_on)

    def _content(self, variant: Variant, picture: Picture) -> Tensor:
        return self._model.models[variant].content_latents(self._tensor(picture))

    def _style(self, variant: Variant, picture: Picture) -> Tensor | PaintingFeatures:
        return self._model.models[variant].style_features(self._tensor(picture))

    def _transfer(self, variant: Variant, content: Tensor, style: Tensor | PaintingFeatures) -> Tensor:
        return self._model.models[variant].transfer(content, style).z

    def _refined(
        self,
        contents: Mapping[Variant, Tensor],
        styles: Mapping[Variant, Tensor | PaintingFeatures],
        content: Picture,
        style: Picture,
        steps: int,
        go_on: Callable[[], bool],
    ) -> dict[Variant, Tensor]:
        from quantart.refining import refine  # the losses' networks take seconds to import

        seen = resize_short_side(self.seen_of(style), max(self._side, MIN_REFINED))
        pair, models = (self._tensor(content), self._tensor(seen)), self._model.models
        answers = {v: models[v].transfer(contents[v], features).unquantised for v, features in styles.items()}
        return {v: refine(models[v], answer, *pair, steps, go_on) for v, answer in answers.items()}

    def _mixed(
        self, contents: Mapping[Variant, Tensor], styled: Mapping[Variant, Tensor], fidelity: Fidelity
    ) -> Tensor:
        return self._model.mixed_latents(contents, styled, fidelity)

    @torch.inference_mode()
    def _decoded(self, z: Tensor, fidelity: Fidelity) -> Picture:
        with self._autocast():  # not before: it would choose other codes
            painted = self._model.decode(z, fidelity)
        return to_arrays(painted)[0]

    def _tensor(self, picture: Picture) -> Tensor:
        return to_tensor(picture).to(self._device)
