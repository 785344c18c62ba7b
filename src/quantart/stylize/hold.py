"""What stands still in a video stands still in its painting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantart.images.arrays import Picture

Array = NDArray[np.float32]

STILL, MOVED = 4.0, 8.0
"""In levels of 255. A difference below the first is the camera's noise; above the second, something has moved."""
PATCH = 4  # pixels a side, at most: its mean has less noise than a pixel, and still shows what moves


class Hold:
    """Keeps a code's latents until its part of the picture changes.

    Otherwise noise alone changes some of a picture's codes. A network whose transfer looks at the whole picture would
    change them everywhere as soon as something moves anywhere.
    """

    def __init__(self) -> None:
        self._seen: Array | None = None
        self._held: Array | None = None

    def __call__(self, content: Picture, latents: Any) -> Any:
        """The latents `(1, c, h, w)` to decode, of numpy or torch, for those of `content` `(k · h, k · w, 3)`."""
        new = latents if isinstance(latents, np.ndarray) else latents.cpu().numpy()
        side = content.shape[0] // new.shape[2]
        seen = _means(content.astype(np.float32), min(PATCH, side))
        if self._seen is None or self._held is None:
            self._seen, self._held = seen, new
            return latents
        per_code = side // min(PATCH, side)
        moved = np.sqrt(_means(np.square(seen - self._seen), per_code).mean(2))
        share = np.clip((_largest_around(moved) - STILL) / (MOVED - STILL), 0.0, 1.0)
        self._held = self._held + share * (new - self._held)
        self._seen = self._seen + share.repeat(per_code, 0).repeat(per_code, 1)[..., None] * (seen - self._seen)
        return self._held if isinstance(latents, np.ndarray) else latents.new_tensor(self._held)

    def save(self, file: Path) -> None:
        """For `restore` in the process that goes on with the video."""
        if self._seen is not None and self._held is not None:
            np.savez(file, seen=self._seen, held=self._held)

    def restore(self, file: Path) -> None:
        with np.load(file) as saved:
            self._seen, self._held = saved["seen"], saved["held"]


def _means(values: Array, side: int) -> Array:
    """Of each square of `side` × `side` values of `(h, w, c)`."""
    height, width, channels = values.shape
    return values.reshape(height // side, side, width // side, side, channels).mean((1, 3))


def _largest_around(values: Array) -> Array:
    """Of each value and its eight neighbours."""
    padded = np.pad(values, 1, mode="edge")
    return np.lib.stride_tricks.sliding_window_view(padded, (3, 3)).max((2, 3))
