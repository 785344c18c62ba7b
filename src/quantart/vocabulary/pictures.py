"""Which file names are those of pictures. What a file really is, its bytes say: `quantart.images.kinds`."""

from __future__ import annotations

from pathlib import PurePosixPath

EXTENSIONS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"),
    *(".heic", ".heif", ".hif", ".jp2", ".j2k", ".jpx"),
)
# cameras' raw files begin as TIFFs, in which a reader finds the preview
RAW_EXTENSIONS = (
    *(".dng", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".srw", ".cr2", ".crw", ".pef", ".3fr", ".fff", ".iiq"),
    *(".erf", ".mef", ".mos", ".dcr", ".kdc", ".rwl", ".gpr", ".orf", ".rw2", ".raf", ".cr3", ".raw"),
)
VIDEOS = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi")
WRITTEN_VIDEOS = {".mp4": "mp4", ".mkv": "matroska"}
"""By ending, the container as FFmpeg names it."""


def is_picture(name: str) -> bool:
    """Whether a file's name has the ending of a picture."""
    return PurePosixPath(name).suffix.lower() in EXTENSIONS
