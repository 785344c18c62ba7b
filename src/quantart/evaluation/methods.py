"""How each method of an evaluation makes its pictures: the model, and baselines without its style transfer network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from quantart.components import style_transfer
from quantart.losses.colour import from_lab, to_lab
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.refining import refine


class Rendering(NamedTuple):
    pictures: Tensor
    """`(b, 3, h, w)` in [-1, 1], clamped."""
    latents: Tensor
    """`(b, c, h/f, w/f)`: what the pictures were decoded from. Without a decoder: what they were encoded to."""
    indices: Tensor | None
    """`(b, h/f, w/f)` int64 into the style codebook; None where the latents are not its codes."""


Painter = Callable[[Tensor, Tensor], Rendering]
"""Makes pictures from photographs and paintings, both `(b, 3, h, w)` in [-1, 1]."""


def transfer(model: ExperimentStage2, content: Tensor, style: Tensor) -> Rendering:
    """The model itself, on latents of photographs and paintings, both `(b, c, h, w)`."""
    transferred = model.transfer(content, style)
    return _decode(model, transferred.z, transferred.indices)


def mixed(control: FidelityControl, fidelity: Fidelity, photographs: Tensor, paintings: Tensor) -> Rendering:
    """The model under fidelity control, together with its other variant; pictures `(b, 3, h, w)`."""
    z = control.latents(photographs, paintings, fidelity)
    return Rendering(control.decode(z, fidelity).clamp(-1, 1), z, None)


def refined(model: ExperimentStage2, steps: int, photographs: Tensor, paintings: Tensor) -> Rendering:
    """The model's answers, each optimised for its own pair: pictures `(b, 3, h, w)`, at least 64 wide."""
    answers = model.transfer(model.content_latents(photographs), model.style_latents(paintings)).unquantised
    pairs = zip(answers.split(1), photographs.split(1), paintings.split(1), strict=True)
    return _quantise(model, torch.cat([refine(model, *pair, steps) for pair in pairs]))


def adain(model: ExperimentStage2, content: Tensor, style: Tensor) -> Rendering:
    """Content latents given the mean and standard deviation of the style's, then quantised; no training.

    The continuous variant has no codebook, so its latents are not quantised.
    """
    return _quantise(model, style_transfer.adain(content, style))


def style_vqgan(model: ExperimentStage2, photographs: Tensor) -> Rendering:
    """Photographs `(b, 3, h, w)` reconstructed by the VQGAN of the paintings."""
    return _quantise(model, model.style_latents(photographs))


def content_decoded(model: ExperimentStage2, content: Tensor) -> Rendering:
    """Content latents `(b, c, h, w)` decoded as if they were a painting's."""
    return _decode(model, content, None)


def colour_matched(model: ExperimentStage2, photographs: Tensor, paintings: Tensor) -> Rendering:
    """Photographs with the colour statistics of paintings, both `(b, 3, h, w)`; latents as in `repainted`."""
    return repainted(model, match_colours(photographs, paintings))


def repainted(model: ExperimentStage2, pictures: Tensor) -> Rendering:
    """Pictures `(b, 3, h, w)` that were made from photographs without the model's networks.

    Their latents come from the content encoder, like those of the copied photograph. So an unchanged photograph has a
    latent content distance of 0, and any distance is due to the change alone.
    """
    return Rendering(pictures, model.content_latents(pictures), None)


def match_colours(photographs: Tensor, paintings: Tensor) -> Tensor:
    """Each photograph with the means and standard deviations of its painting's L*, a* and b*.

    After Reinhard et al. (IEEE Computer Graphics and Applications 2001), in CIELAB instead of the paper's lαβ, whose
    logarithms are undefined for black. On the sample pictures CIELAB also came closer to the paintings' colours.
    From `(b, 3, h, w)` and `(b, 3, h2, w2)` to `(b, 3, h, w)`, sRGB in [-1, 1]. Colours outside sRGB are clamped, so
    the result's statistics can differ a little from the painting's.
    """
    return from_lab(style_transfer.adain(to_lab(photographs), to_lab(paintings)))


def _quantise(model: ExperimentStage2, latents: Tensor) -> Rendering:
    if model.variant == "continuous":
        return _decode(model, model.projected(latents), None)
    quantized = model.quantize_dec(latents)
    return _decode(model, quantized.z_q, quantized.indices)


def _decode(model: ExperimentStage2, latents: Tensor, indices: Tensor | None) -> Rendering:
    return Rendering(model.decode(latents).clamp(-1, 1), latents, indices)
