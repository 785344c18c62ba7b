"""What the loss of a network that paints weighs, unless `stage2.painting` says otherwise."""

from __future__ import annotations

from typing import Final

PAINTING_WEIGHTS: Final = {
    "texture_weight": 10.0,
    "coarse_texture_weight": 8.0,
    "moments_weight": 4.0,
    "colour_weight": 4.0,
    "spectrum_weight": 2.0,
    "content_weight": 4.0,
    "codebook_weight": 0.5,
}
