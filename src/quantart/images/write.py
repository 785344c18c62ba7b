"""Encoding pictures and writing them to files."""

from __future__ import annotations

import io
from pathlib import Path

from quantart.errors import UserError
from quantart.images.arrays import Picture, to_pillow
from quantart.machine.whole import write_whole

WRITTEN_FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}


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
    to_pillow(array).save(buffer, file_format, quality=92)
    return buffer.getvalue()
