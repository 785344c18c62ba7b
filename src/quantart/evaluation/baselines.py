"""What the model must beat: pictures made without its trained style transfer, most of them with its own networks."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from quantart.components import style_transfer
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.reinhard import match_colours
from quantart.models.fidelity import Fidelity, FidelityControl
from quantart.models.stage_2 import ExperimentStage2

ADAIN = "adain"
COPIED_CONTENT = "copied_content"
COPIED_STYLE = "copied_style"
STYLE_VQGAN = "style_vqgan"
CONTENT_DECODED = "content_decoded"
COLOUR_MATCHED = "colour_matched"
MAGENTA = "magenta"
BASELINES = (ADAIN, CONTENT_DECODED, STYLE_VQGAN, COLOUR_MATCHED, COPIED_CONTENT, COPIED_STYLE)


class Rendering(NamedTuple):
    """Pictures that a method made."""

    pictures: Tensor
    """`(b, 3, h, w)` in [-1, 1], clamped."""
    latents: Tensor
    """`(b, c, h/f, w/f)`, what they were decoded from or, where no decoder made them, encoded to."""
    indices: Tensor | None
    """`(b, h/f, w/f)` int64 into the style codebook; None where the latents are not its codes."""


Painter = Callable[[Tensor, Tensor], Rendering]
"""Photographs and paintings, both `(b, 3, h, w)` in [-1, 1], to pictures."""


def transfer(model: ExperimentStage2, content: Tensor, style: Tensor) -> Rendering:
    """The model itself, on latents of photographs and paintings, both `(b, c, h, w)`."""
    transferred = model.transfer(content, style)
    return _decode(model, transferred.z, transferred.indices)


def mixed(control: FidelityControl, fidelity: Fidelity, photographs: Tensor, paintings: Tensor) -> Rendering:
    """The model, and its other variant, under fidelity control; pictures `(b, 3, h, w)`."""
    z = control.latents(photographs, paintings, fidelity)
    return Rendering(control.decode(z, fidelity).clamp(-1, 1), z, None)


def adain(model: ExperimentStage2, content: Tensor, style: Tensor) -> Rendering:
    """Content latents given the mean and standard deviation of the style's, then quantised (no training).

    The continuous variant, which has no codebook, leaves the latents as they are.
    """
    return _quantise(model, style_transfer.adain(content, style))


def style_vqgan(model: ExperimentStage2, photographs: Tensor) -> Rendering:
    """Photographs `(b, 3, h, w)` reconstructed by the VQGAN of the paintings."""
    return _quantise(model, model.style_latents(photographs))


def content_decoded(model: ExperimentStage2, content: Tensor) -> Rendering:
    """Content latents `(b, c, h, w)` decoded as if they were a painting's."""
    return _decode(model, content, None)


def colour_matched(model: ExperimentStage2, photographs: Tensor, paintings: Tensor) -> Rendering:
    """Photographs `(b, 3, h, w)` with the colour statistics of paintings, likewise; latents as in `repainted`."""
    return repainted(model, match_colours(photographs, paintings))


def magenta(
    model: ExperimentStage2, stylizer: MagentaStylizer, photographs: Tensor, style_vectors: Tensor
) -> Rendering:
    """Photographs `(b, 3, h, w)` painted by Magenta's network; latents as in `repainted`.

    Args:
        style_vectors: `(b, 100)`, what `stylizer.style_vectors` made of the paintings.
    """
    return repainted(model, stylizer.paint(photographs, style_vectors))


def repainted(model: ExperimentStage2, pictures: Tensor) -> Rendering:
    """Pictures `(b, 3, h, w)` that were made of photographs outside the model's networks.

    Their latents are the content encoder's, as those of the copied photograph: one left as it was is at latent content
    distance 0, and what differs from the copied photograph is the change alone.
    """
    return Rendering(pictures, model.content_latents(pictures), None)


def _quantise(model: ExperimentStage2, latents: Tensor) -> Rendering:
    if model.variant == "continuous":
        return _decode(model, model.projected(latents), None)
    quantized = model.quantize_dec(latents)
    return _decode(model, quantized.z_q, quantized.indices)


def _decode(model: ExperimentStage2, latents: Tensor, indices: Tensor | None) -> Rendering:
    return Rendering(model.decode(latents).clamp(-1, 1), latents, indices)
