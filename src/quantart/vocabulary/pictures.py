"""Which files are pictures."""

from __future__ import annotations

from pathlib import PurePosixPath

EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


def is_picture(name: str) -> bool:
    """Whether a file's name has the extension of a picture."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS
