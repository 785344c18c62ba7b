"""Spectrum of a picture's brightness: how much detail of each size and direction it has.

A decoder trained on pixel and perceptual distances blurs the finest detail, since it can't be predicted, and repeats
its own grid in place of it. Energies can be matched without predicting where detail lies.
"""

from __future__ import annotations

import functools
import itertools
import math

import torch
from torch import Tensor

from quantart.components.precision import full_precision

_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709, on the sRGB values as they are
_EDGES = (0.06, 0.09, 0.125, 0.18, 0.25, 0.32, 0.4, 0.5)  # cycles a pixel: detail of 2 to 16 pixels
_DIRECTIONS = 3  # flat, oblique, steep
_FLAT = 1e-2  # least deviation of brightness to divide by
_QUIET = 1e-3  # added to an energy, so that bands of next to no detail do not count


def spectrum(pictures: Tensor) -> Tensor:
    """Logarithms of the energy in bands of frequency and direction, `(b, n)` in float32.

    Args:
        pictures: `(b, 3, h, w)` in [-1, 1], at least 2 × 2; their contrast does not count.
    """
    with torch.autocast(pictures.device.type, enabled=False):
        pictures = full_precision(pictures)
        luma = torch.einsum("c,bchw->bhw", torch.tensor(_LUMA).to(pictures), pictures)
        luma = luma - luma.mean((1, 2), keepdim=True)
        luma = luma / (luma.std((1, 2), keepdim=True, correction=0) + _FLAT)
        window, bands = _bands(*luma.shape[1:], luma.device)
        waves = torch.fft.rfft2(luma * window)
        energy = waves.real.square() + waves.imag.square()
        return (energy.flatten(1) @ bands.to(energy.dtype) + _QUIET).log()


def spectrum_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean absolute difference of two `spectrum`s, 0-d."""
    return (outputs - targets).abs().mean()


@functools.lru_cache(maxsize=8)
def _bands(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """A Hann window `(h, w)`, and the weights of `rfft2`'s frequencies in the mean of each band, `(h · w', n)`."""
    down = torch.fft.fftfreq(height)[:, None].abs()
    across = torch.fft.rfftfreq(width)[None]
    frequency = (down.square() + across.square()).sqrt()
    direction = (torch.atan2(down, across) / (math.pi / 2) * _DIRECTIONS).long().clamp_max(_DIRECTIONS - 1)
    chosen = [
        (frequency >= least) & (frequency < most) & (direction == sector)
        for least, most in itertools.pairwise(_EDGES)
        for sector in range(_DIRECTIONS)
    ]
    chosen.append(frequency >= _EDGES[-1])  # the corners of the plane
    bands = torch.stack([band.flatten() / band.sum() for band in chosen if band.any()], 1)
    window = torch.hann_window(height)[:, None] * torch.hann_window(width)[None]
    return window.to(device), bands.to(device)
