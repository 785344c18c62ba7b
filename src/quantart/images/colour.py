"""A decoded picture's colours as sRGB on white."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageCms

from quantart.images.fault import ImageError
from quantart.images.png import colour_profile, gamma_profile
from quantart.images.profiles import BT709_TRANSFERS, HDR_TRANSFERS, coded_profile

_NCLX = re.compile(rb"colrnclx(..)(..)", re.DOTALL)
_JP2_PROFILE = re.compile(rb"(....)colr\x02..", re.DOTALL)
_BOXES = 65536  # bytes: the boxes that describe a picture come before it


def set_profile(picture: Image.Image, data: bytes, png_chunks: Mapping[bytes, bytes]) -> None:
    """Give the picture the profile that a browser would choose, before its pixels are read.

    Args:
        data: the file's bytes.
        png_chunks: of a PNG, those about colours (`quantart.images.png.parts`).

    Raises:
        ImageError: the picture is for high dynamic range: what it looks like on other screens is a matter of taste.
    """
    grey = picture.mode in {"1", "L", "LA"} or picture.mode.startswith("I")
    profile, codes = picture.info.get("icc_profile"), None
    if picture.format == "PNG":
        profile, codes = colour_profile(png_chunks), tuple(png_chunks.get(b"cICP", b"")[:2])
    elif picture.format == "JPEG2000":
        profile = _jp2_profile(data)
    elif picture.format in {"AVIF", "HEIF"} and not profile and (nclx := _NCLX.search(data, 0, _BOXES)):
        primaries, transfer = (int.from_bytes(code, "big") for code in nclx.groups())
        codes = (primaries, 13 if transfer in BT709_TRANSFERS else transfer)  # as in Chromium, but for PNGs
    if codes and codes[1] in HDR_TRANSFERS:
        kind = HDR_TRANSFERS[codes[1]]
        raise ImageError(f"a picture of high dynamic range ({kind})", "save it for ordinary screens (SDR)")
    coded = coded_profile(*codes, grey=grey) if codes else None
    if coded is not None:
        profile = coded
    elif profile is None or not _is_profile(profile):
        profile = gamma_profile(png_chunks, grey=grey)
    picture.info.pop("icc_profile", None)
    if profile:
        picture.info["icc_profile"] = profile


def _jp2_profile(data: bytes) -> bytes | None:
    box = _JP2_PROFILE.search(data, 0, _BOXES)
    return data[box.end() : box.start() + int.from_bytes(box[1], "big")] if box else None


def _is_profile(profile: bytes) -> bool:
    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError):
        return False
    return True


def to_rgb(picture: Image.Image) -> Image.Image:
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
    """Apply the picture's colour profile; a broken one, or one for another mode, is ignored, as browsers do."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return picture
    return picture if converted is None else converted
