"""What kind of picture a file is, by its first bytes. Nothing is decoded here."""

from __future__ import annotations

import re
import stat
from pathlib import Path, PurePosixPath

from quantart.vocabulary.pictures import RAW_EXTENSIONS, is_picture

# The kinds of photographs and paintings, named as Pillow does. No others are opened: some of Pillow's readers start
# programs.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000")

HEAD = 64  # bytes that tell the kind

_STARTS = {
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "WEBP": re.compile(rb"RIFF....WEBP", re.DOTALL),
    "GIF": re.compile(rb"GIF8[79]a"),
    # "BM" alone may begin any text: the length of the second header is one of a few
    "BMP": re.compile(rb"BM.{4}.{4}.{4}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL),
    # with 42, or 43 for files above 4 GB; a Canon raw file says CR behind it
    "TIFF": re.compile(rb"(?:II[*+]\0|MM\0[*+])(?!.{4}CR)", re.DOTALL),
    "AVIF": re.compile(rb"....ftyp(?:.{4})*?(?:avif|avis)", re.DOTALL),
    "HEIF": re.compile(rb"....ftyp(?:.{4})*?(?:hei[cxms]|hev[cxms]|mif1|msf1)", re.DOTALL),
    "JPEG2000": re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"),
}


def kind_of(head: bytes) -> str | None:
    """The format in `FORMATS` that a file's first `HEAD` bytes (or all) announce; None: it is no picture."""
    return next((kind for kind, start in _STARTS.items() if start.match(head[:HEAD])), None)


def counts_as_picture(name: str, head: bytes) -> bool:
    """Whether a file found in a folder is one: by its bytes, whatever its name; damaged ones by their name."""
    if PurePosixPath(name).suffix.lower() in RAW_EXTENSIONS:
        return False
    return is_picture(name) or kind_of(head) is not None


def is_picture_file(path: Path) -> bool:
    """`counts_as_picture` of a file; one that can't be read is judged by its name."""
    if is_picture(path.name):
        return True
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe waits for its writer
            return False
        with path.open("rb") as file:
            return counts_as_picture(path.name, file.read(HEAD))
    except (OSError, ValueError):
        return False
