"""Scaling and cropping pictures."""

from __future__ import annotations

import numpy as np
from PIL import Image

from quantart.images.arrays import Picture, to_pillow


def resize(array: Picture, height: int, width: int) -> Picture:
    """Scale to `(height, width, 3)` by Lanczos' filter; a picture of that size is returned as it is."""
    if array.shape[:2] == (height, width):
        return array
    return np.array(to_pillow(array).resize((width, height), Image.Resampling.LANCZOS))


def resize_short_side(array: Picture, side: int) -> Picture:
    """Scale the short side to `side` pixels; the aspect is kept to the nearest pixel."""
    height, width = array.shape[:2]
    scale = side / min(height, width)
    return resize(array, max(side, round(height * scale)), max(side, round(width * scale)))


def crop_to_aspect(array: Picture, max_aspect: float) -> Picture:
    """Cut off both ends of the long side until long / short ≤ `max_aspect` (≥ 1)."""
    height, width = array.shape[:2]
    longest = max(1, int(min(height, width) * max_aspect))
    return centre_crop(array, min(height, longest), min(width, longest))


def centre_crop(array: Picture, height: int, width: int) -> Picture:
    """The central `(height, width, 3)` of a picture of at least that size."""
    top, left = (array.shape[0] - height) // 2, (array.shape[1] - width) // 2
    return array[top : top + height, left : left + width]
