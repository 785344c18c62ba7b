"""Texture and structure by brightness alone: whether a picture has a painting's hand and a photograph's forms.

A Gram or perceptual distance shrinks when a photograph only gets the painting's colours and contrast. These two can't:
the network sees `standardised_luma`, and each channel of its features is standardised over space.

Deliberately repeats, and differs from, the losses' texture (`losses.stage_1`, `losses.painting`): a judge must not
change when a loss does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import gram_matrix, relative_distance

_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, on the sRGB values as they are
_FLAT = 1e-4  # least deviation of a picture to divide by: a plain one stays plain
_QUIET = 1e-3  # the same for a channel, as a fraction of the layer's mean deviation


class Texture(NamedTuple):
    """What one network says of a batch of pictures."""

    correlations: list[Tensor]
    """Of the channels of each layer that `LPIPS` compares, `(b, c, c)`."""
    forms: Tensor
    """The deepest of these layers, each channel with mean 0 and deviation 1 over space, `(b, c, n)`."""


def texture_of(network: LPIPS, pictures: Tensor) -> Texture:
    """Pictures `(b, 3, h, w)` in [-1, 1]; below 64 pixels the deepest layer is too small to hold forms."""
    layers = [_standardised(layer) for layer in network.outputs(standardised_luma(pictures))]
    return Texture([gram_matrix(layer) for layer in layers], layers[-1])


def texture_distance(outputs: Texture, paintings: Texture) -> Tensor:
    """Relative Frobenius distance of the correlations, mean over layers, `(b,)`: 0 for the painting itself."""
    return relative_distance(outputs.correlations, paintings.correlations, least=1.0)


def structure_distance(outputs: Texture, photographs: Texture) -> Tensor:
    """Mean squared difference of the forms, `(b,)`: 0 for the photograph itself, about 2 for an unrelated picture."""
    return (outputs.forms - photographs.forms).square().mean((1, 2))


def standardised_luma(pictures: Tensor) -> Tensor:
    """Luma with mean 0 and deviation 1 over each picture, in three equal channels: `(b, 3, h, w)` → `(b, 3, h, w)`."""
    luma = torch.einsum("c,bchw->bhw", torch.tensor(_LUMA).to(pictures), pictures)[:, None].float()
    centred = luma - luma.mean((2, 3), keepdim=True)
    return (centred / luma.std((2, 3), keepdim=True, correction=0).clamp_min(_FLAT)).expand(-1, 3, -1, -1)


def _standardised(features: Tensor) -> Tensor:
    """`(b, c, h, w)` → `(b, c, h · w)`, each channel with mean 0 and deviation 1 over space."""
    flat = features.float().flatten(2)
    deviation = flat.std(2, keepdim=True, correction=0)
    least = _QUIET * deviation.mean(1, keepdim=True).clamp_min(1e-8)
    return (flat - flat.mean(2, keepdim=True)) / deviation.maximum(least)
