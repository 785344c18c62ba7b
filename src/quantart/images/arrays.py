"""Pictures as arrays and tensors, scaled, cropped and written. Torch is imported only where it is used."""

from __future__ import annotations

import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from quantart.errors import UserError
from quantart.machine.whole import write_whole

if TYPE_CHECKING:
    import torch

Picture = NDArray[np.uint8]
"""`(h, w, 3)` in sRGB."""
WRITTEN_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


def to_pillow(array: Picture) -> Image.Image:
    """A picture as a Pillow image; ValueError where the array has another type or shape."""
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise ValueError(f"expected a uint8 array (h, w, 3), got {array.dtype} {array.shape}")
    return Image.fromarray(array)


def pixels_to_float(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 0…255 to float32 [-1, 1], of any shape and on any device."""
    return pixels.float() / 127.5 - 1.0


def to_tensor(pictures: Picture | Sequence[Picture]) -> torch.Tensor:
    """One picture `(h, w, 3)`, or several of the same size, to float32 `(b, 3, h, w)` in [-1, 1]."""
    import torch

    several = [pictures] if isinstance(pictures, np.ndarray) and pictures.ndim == 3 else pictures
    batch = torch.from_numpy(np.stack(list(several)))
    return pixels_to_float(batch.permute(0, 3, 1, 2).contiguous())


def to_arrays(pictures: torch.Tensor) -> list[Picture]:
    """Float `(b, 3, h, w)` to a list of uint8 `(h, w, 3)`; values outside [-1, 1] are clipped."""
    pixels = ((pictures.detach().float() + 1.0) * 127.5).round().clamp(0, 255).byte()
    return list(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())


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


def encode_png(array: Picture) -> bytes:
    return _encode(array, "PNG")


def write_image(path: Path, array: Picture) -> None:
    """Write a picture, whole or not at all, in the format of `WRITTEN_FORMATS` that the file name's ending selects."""
    file_format = WRITTEN_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(f"{path}: no format has this ending", f"use one of {', '.join(WRITTEN_FORMATS)}")
    write_whole(path, _encode(array, file_format))


def _encode(array: Picture, file_format: str) -> bytes:
    buffer = io.BytesIO()
    # painted pictures repeat nothing but neighbouring bytes: looking for more takes twice as long and finds nothing
    to_pillow(array).save(buffer, file_format, quality=92, compress_level=1, compress_type=zlib.Z_RLE)
    return buffer.getvalue()
