"""Decoding pictures: the only place where untrusted bytes become pixels."""

from __future__ import annotations

import io
import math
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image, ImageCms, UnidentifiedImageError

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.images.kinds import FORMATS, kind_of

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)

ANIMATED_FORMATS = {"GIF", "PNG", "WEBP", "AVIF"}  # further pictures in other formats are previews or pages

# Each scan of a progressive JPEG costs a pass over the whole picture, and an empty scan takes 23 bytes: without a limit
# a file of one megabyte keeps a core busy for hours. Encoders write about ten scans; libtiff has the same limit.
MAX_JPEG_SCANS = 100

_EXIF_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_JPEG_START, _START_OF_SCAN, _END_OF_IMAGE = b"\xff\xd8\xff", 0xDA, 0xD9
# a marker that a length follows; FF 00 and restarts (D0 to D7) are part of compressed data, and FF 01 has no length
_JPEG_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")


class ImageError(UserError):
    """A picture that can't be used."""


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
        max_pixels: larger pictures are refused by their header alone. Pillow's own limit (179 million pixels unless
            the process changed it) applies as well.
        still: refuse animations instead of taking their first frame.
        least_side: a JPEG may be decoded at a half, a quarter or an eighth of its size, which costs libjpeg a fraction,
            as long as its short side keeps this many pixels. None: always at its whole size.

    The array is writable. ImageError is the only error, whatever the bytes are.
    """
    with _opened(data, max_pixels=max_pixels, still=still) as picture:
        if least_side is not None and picture.format in {"JPEG", "MPO"}:
            scale = least_side / min(picture.size)
            picture.draft(None, (math.ceil(picture.width * scale), math.ceil(picture.height * scale)))
        picture.load()
        return np.array(_to_rgb(_upright(picture)))


def stored_size(data: bytes, *, max_pixels: int, still: bool = False) -> tuple[int, int]:
    """Height and width from a picture's header, as stored; `decode_image` may turn the picture upright.

    ImageError is the only error; what follows the header may still be broken.
    """
    with _opened(data, max_pixels=max_pixels, still=still) as picture:
        return picture.height, picture.width


@contextmanager
def _opened(data: bytes, *, max_pixels: int, still: bool) -> Iterator[Image.Image]:
    """The picture before its pixels are read; every error until it is closed becomes an `ImageError`."""
    if not data:
        raise ImageError("the file is empty")
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > max_pixels:
                size = f"{picture.width} × {picture.height} pixels"
                raise ImageError(f"too large: {size}, the limit is {max_pixels} pixels")
            if data.startswith(_JPEG_START):
                _check_scans(data)
            if still and picture.format in ANIMATED_FORMATS and getattr(picture, "is_animated", False):
                raise ImageError("animated", "send one picture")
            yield picture
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        if kind := kind_of(data):
            raise ImageError(f"broken picture: a {kind} whose header can't be read") from error
        raise ImageError(f"not a {', '.join(FORMATS)} picture: it begins with {data[:16]!r}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"too large: {_one_line(error)}") from error
    except MemoryError as error:
        raise ImageError("decoding it needs more memory than there is") from error
    except Exception as error:  # Pillow's readers may raise anything for a broken file
        raise ImageError(f"broken picture: {_one_line(error)}") from error


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
        raise ImageError(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
    expected = before.st_size if size is None else size
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size) or len(data) != expected:
        raise ImageError("changed while it was read", "run again when nothing writes to it")
    return data


def read_image(path: Path, *, max_pixels: int) -> Picture:
    """`decode_image` of a file; an ImageError names it."""
    with named(path):
        return decode_image(read_file(path), max_pixels=max_pixels)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _upright(picture: Image.Image) -> Image.Image:
    """Undo the EXIF orientation of a loaded picture (loading turns TIFFs by itself and takes their mark away)."""
    # ImageOps.exif_transpose also rewrites the EXIF block, which fails for some otherwise good pictures
    turn = _UPRIGHT.get(picture.getexif().get(_EXIF_ORIENTATION, 1))
    return picture if turn is None else picture.transpose(turn)


def _check_scans(data: bytes) -> None:
    """Refuse a JPEG of more than `MAX_JPEG_SCANS` scans; markers in metadata and after the picture don't count."""
    place, scans = 2, 0
    while (marker := _JPEG_MARKER.search(data, place)) and data[marker.end() - 1] != _END_OF_IMAGE:
        scans += data[marker.end() - 1] == _START_OF_SCAN
        if scans > MAX_JPEG_SCANS:
            raise ImageError(f"a JPEG of more than {MAX_JPEG_SCANS} scans, made to keep its readers busy")
        place = marker.end() + max(2, int.from_bytes(data[marker.end() : marker.end() + 2], "big"))


def _to_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ImageError("floating-point pictures have no defined white", "save it with 8 or 16 bits")
    if picture.mode.startswith("I"):
        picture = _from_16_bit(picture)
    if picture.has_transparency_data:
        return _on_white(picture)
    if picture.mode == "P":
        picture = picture.convert("RGB")
    return _to_srgb(picture).convert("RGB")


def _on_white(picture: Image.Image) -> Image.Image:
    key = picture.info.get("transparency")
    if picture.mode == "RGB" and isinstance(key, tuple) and max(key) > 255:
        picture.info["transparency"] = tuple(value >> 8 for value in key)  # Pillow cut the pixels alone to 8 bits
    with_alpha = picture.convert("RGBA")
    # a profile is for grey or for coloured pictures, and for neither with alpha
    opaque = picture.convert("L") if picture.mode in {"1", "L", "LA"} else with_alpha.convert("RGB")
    white = Image.new("RGB", picture.size, "white")
    return Image.composite(_to_srgb(opaque).convert("RGB"), white, with_alpha.getchannel("A"))


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit grey with its profile, and with alpha where one value is transparent."""
    # convert() would clip at 255 instead of scaling
    grey = np.asarray(picture).astype(np.int64)
    if grey.min() < 0 or grey.max() > 65535:
        raise ImageError("more than 16 bits per channel", "save it with 8 or 16 bits")
    scaled = Image.fromarray(((grey + 128) // 257).astype(np.uint8))
    key = picture.info.get("transparency")
    if isinstance(key, int):
        opaque = Image.fromarray(np.where(grey == key, 0, 255).astype(np.uint8))
        scaled = Image.merge("LA", (scaled, opaque))
    if "icc_profile" in picture.info:
        scaled.info["icc_profile"] = picture.info["icc_profile"]
    return scaled


def _to_srgb(picture: Image.Image) -> Image.Image:
    """Apply the embedded colour profile; a broken one, or one for another mode, is ignored, as browsers do."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return picture if converted is None else converted
