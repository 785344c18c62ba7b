"""Decoding pictures: the only place where untrusted bytes become pixels."""

from __future__ import annotations

import io
import math
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError

from quantart.errors import one_line
from quantart.images.arrays import Picture
from quantart.images.colour import set_profile, to_rgb
from quantart.images.fault import ImageError as ImageError
from quantart.images.fault import TooLargeError as TooLargeError
from quantart.images.kinds import FORMATS, kind_of
from quantart.images.png import parts as png_parts
from quantart.images.tiff import SCANNER_TIFF

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

# Our own limit holds for every picture, before its pixels are read. Pillow's has another value, which outranked ours.
Image.MAX_IMAGE_PIXELS = None
# Pillow warns of odd metadata in good pictures; what makes a picture unusable is an error
warnings.filterwarnings("ignore", module=r"PIL\.")

ANIMATED_FORMATS = {"GIF", "PNG", "WEBP", "AVIF"}  # further pictures in other formats are previews or pages

# Each scan of a progressive JPEG costs a pass over the whole picture, and an empty scan takes 23 bytes: without a limit
# a file of one megabyte keeps a core busy for hours. Encoders write about ten scans; libtiff has the same limit.
MAX_JPEG_SCANS = 100

_EXIF_ORIENTATION = 0x0112
# by EXIF's number: whether rows and columns change places, then whether rows run backwards, and columns
_UPRIGHT = {
    **{2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False)},
    **{6: (True, False, True), 7: (True, True, True), 8: (True, True, False)},
}
_BAND = 2**24  # pixels whose colours are converted at once: a large picture is never held in one more form

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
# a marker that a length follows; FF 00 and restarts (D0 to D7) are part of compressed data, and FF 01 has no length
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


@contextmanager
def named(subject: object) -> Iterator[None]:
    """Let the fault of an `ImageError` raised in the block begin with `subject`, such as the file's name."""
    try:
        yield
    except ImageError as error:
        raise ImageError(f"{subject}: {error.fault}", error.remedy) from error


def decode_image(data: bytes, *, max_pixels: int, still: bool = False, least_side: int | None = None) -> Picture:
    """Decode a picture of any of `FORMATS`: the first frame, upright, in sRGB, transparency on white.

    Args:
        max_pixels: larger pictures are refused by their header alone.
        still: refuse animations instead of taking their first frame.
        least_side: a JPEG may be decoded at a half, a quarter or an eighth of its size, which costs libjpeg a fraction,
            as long as its short side keeps this many pixels. None: always at its whole size.

    The array is writable. ImageError is the only error, whatever the bytes are.
    """
    return _upright(*_decoded(data, max_pixels, still, least_side))


def _decoded(data: bytes, max_pixels: int, still: bool, least_side: int | None) -> tuple[Picture, int]:
    """The picture as it is stored, and its EXIF orientation. Pillow's own copy is gone when this returns."""
    with _opened(data, max_pixels=max_pixels, still=still) as picture:
        if least_side is not None and picture.format in {"JPEG", "MPO"}:
            scale = least_side / min(picture.size)
            picture.draft(None, (math.ceil(picture.width * scale), math.ceil(picture.height * scale)))
        picture.load()
        _check_size(picture, max_pixels)  # a HEIC's header may promise less than is in it
        # asked after loading, which turns TIFFs by itself and takes their mark away
        return _in_srgb(picture), picture.getexif().get(_EXIF_ORIENTATION, 1)


def stored_size(data: bytes, *, max_pixels: int, still: bool = False) -> tuple[int, int]:
    """Height and width from a picture's header, as stored; `decode_image` may turn the picture upright.

    ImageError is the only error; what follows the header may still be broken.
    """
    with _opened(data, max_pixels=max_pixels, still=still) as picture:
        return picture.height, picture.width


def is_animated(data: bytes, *, max_pixels: int) -> bool:
    """Whether a picture has several frames; see `stored_size` on errors."""
    with _opened(data, max_pixels=max_pixels, still=False) as picture:
        return bool(getattr(picture, "is_animated", False))


@contextmanager
def _opened(data: bytes, *, max_pixels: int, still: bool) -> Iterator[Image.Image]:
    """The picture before its pixels are read; every error until it is closed becomes an `ImageError`."""
    if not data:
        raise ImageError("the file is empty")
    kind = kind_of(data)
    try:
        file, png_chunks = png_parts(data) if kind == "PNG" else (data, {})
        with Image.open(io.BytesIO(file), formats=(SCANNER_TIFF, *FORMATS)) as picture:
            _check_size(picture, max_pixels)
            if kind == "JPEG":
                _check_scans(data)
            if still and picture.format in ANIMATED_FORMATS and getattr(picture, "is_animated", False):
                raise ImageError("animated", "send one picture")
            set_profile(picture, data, png_chunks)
            yield picture
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        if kind:
            raise ImageError(f"broken picture: a {kind} whose header can't be read") from error
        raise ImageError(f"not a {', '.join(FORMATS)} picture: it begins with {data[:16]!r}") from None
    except MemoryError as error:
        raise ImageError("decoding it needs more memory than there is") from error
    except Exception as error:  # Pillow's readers may raise anything for a broken file
        raise ImageError(f"broken picture: {one_line(error)}") from error


def _check_size(picture: Image.Image, max_pixels: int) -> None:
    if picture.width * picture.height > max_pixels:
        size = f"{picture.width} × {picture.height} pixels"
        raise TooLargeError(f"too large: {size}, the limit is {max_pixels} pixels", "scale it down")


UNREAD = ("cannot be read", "changed while it was read")
"""How the messages of files begin that may be readable at another time."""


def read_file(path: Path, offset: int = 0, size: int | None = None) -> bytes:
    """Read a whole regular file, or `size` bytes of it from `offset` on.

    ImageError, which does not name the file, where it can't be read, is a pipe, device or folder, or changed meanwhile,
    so that half of it might be old.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # checked first, since opening a pipe waits for its writer
            raise ImageError("not a regular file")
        with path.open("rb") as file:
            before = os.fstat(file.fileno())
            file.seek(offset)
            data = file.read() if size is None else file.read(size)
            after = os.fstat(file.fileno())
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{UNREAD[0]}: {getattr(error, 'strerror', None) or error}") from error
    expected = before.st_size if size is None else size
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or len(data) != expected:
        raise ImageError(UNREAD[1], "run again when nothing writes to it")
    return data


def read_image(path: Path, *, max_pixels: int) -> Picture:
    """`decode_image` of a file; an ImageError names it."""
    with named(path):
        return decode_image(read_file(path), max_pixels=max_pixels)


def _in_srgb(picture: Image.Image) -> Picture:
    pixels = np.empty((picture.height, picture.width, 3), np.uint8)
    rows = max(1, _BAND // picture.width)
    for top in range(0, picture.height, rows):
        bottom = min(top + rows, picture.height)
        band = picture if rows >= picture.height else picture.crop((0, top, picture.width, bottom))
        pixels[top:bottom] = np.asarray(to_rgb(band))
    return pixels


def _upright(pixels: Picture, orientation: int) -> Picture:
    """Undo the EXIF orientation."""
    # ImageOps.exif_transpose also rewrites the EXIF block, which fails for some otherwise good pictures
    if orientation not in _UPRIGHT:
        return pixels
    turned, down, right = _UPRIGHT[orientation]
    pixels = pixels.swapaxes(0, 1) if turned else pixels
    return np.ascontiguousarray(pixels[:: -1 if down else 1, :: -1 if right else 1])


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG of more than `MAX_JPEG_SCANS` scans; markers in metadata and after the picture don't count."""
    place, scans = 2, 0
    while (marker := _JPEG_MARKER.search(data, place)) and data[marker.end() - 1] != _END_OF_IMAGE:
        scans += data[marker.end() - 1] == _START_OF_SCAN
        if scans > MAX_JPEG_SCANS:
            raise ImageError(f"a JPEG of more than {MAX_JPEG_SCANS} scans, made to keep its readers busy")
        place = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))
