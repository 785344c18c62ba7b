"""Changed bytes of real pictures: decoding gives a picture within the limit or an ImageError, soon."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from quantart.images.decode import ImageError, decode_image

from .test_colour import P3, chrm, cicp, gama, iccp, png
from .test_tiff import RGB, tiff

PHOTO = Path(__file__).parents[1] / "pictures" / "kingfisher.jpg"
MAX_PIXELS = 100_000
HANG = timedelta(seconds=30)  # a picture of so few pixels takes milliseconds


def seed(file_format: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.open(PHOTO).resize((48, 32)).convert(mode).save(buffer, file_format, **options)
    return buffer.getvalue()


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = Image.Exif()
EXIF[0x0112] = 6
SECOND = Image.new("RGB", (48, 32))
SEEDS = [
    seed("JPEG", exif=EXIF),
    seed("JPEG", progressive=True, icc_profile=PROFILE),
    seed("JPEG", "CMYK"),
    seed("PNG", icc_profile=PROFILE, exif=EXIF),
    seed("PNG", "P", transparency=3),
    seed("PNG", "I;16", transparency=3),
    seed("GIF", save_all=True, append_images=[SECOND]),
    seed("TIFF", compression="tiff_lzw", exif=EXIF),
    seed("TIFF", compression="raw"),
    seed("TIFF", compression="jpeg"),
    seed("WEBP", exif=EXIF),
    seed("WEBP", lossless=True, save_all=True, append_images=[SECOND]),
    seed("BMP"),
    seed("AVIF"),
    seed("HEIF", exif=EXIF),
    seed("JPEG2000"),
    seed("JPEG2000", no_jp2=True, irreversible=True, tile_size=(16, 16)),
    png(gama(1), chrm(*P3), iccp(PROFILE), cicp(12, 13)),
    tiff(RGB, planar=True, compression=5),
    tiff(RGB, bits=12, endian=">", big=True),
    tiff(RGB, 8, bits=16, compression=8, predictor=True),
]

PLACES = st.floats(0, 1, exclude_max=True)
# bytes, and the numbers at which sizes and offsets overflow
VALUES = st.one_of(
    st.binary(min_size=1, max_size=1),
    st.sampled_from([b"\0\0", b"\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"]),
)
CHANGES = st.lists(st.tuples(PLACES, VALUES), max_size=3)


def place_in(place: float, length: int) -> int:
    """Headers are where readers stumble: half of the changes go there."""
    return int(place * 2 * min(200, length)) if place < 0.5 else int(place * length)


def check(data: bytes, changes: list[tuple[float, bytes]], copied: tuple[float, float, float], kept: float) -> None:
    mutated = bytearray(data)
    for place, value in changes:
        start = place_in(place, len(mutated))
        mutated[start : start + len(value)] = value
    start, end, to = (place_in(place, len(mutated)) for place in copied)
    mutated[to:to] = mutated[start:end]  # nothing where the end comes first
    mutated = mutated[: int(len(mutated) * (kept * 2 if kept < 0.5 else 1))]
    try:
        picture = decode_image(bytes(mutated), max_pixels=MAX_PIXELS)
    except ImageError:
        return
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert 0 < picture.shape[0] * picture.shape[1] <= MAX_PIXELS


# most pictures stay whole and in place: readers give up early on the others
COPIED = st.one_of(st.just((0.0, 0.0, 0.0)), st.just((0.0, 0.0, 0.0)), st.tuples(PLACES, PLACES, PLACES))
KEPT = st.one_of(st.just(1.0), st.just(1.0), st.floats(0, 1))
changed = given(st.sampled_from(SEEDS), CHANGES, COPIED, KEPT)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=2500, deadline=HANG, derandomize=True, database=None)
@changed
def test_changed_bytes_give_a_picture_or_an_image_error(data, changes, copied, kept):
    check(data, changes, copied, kept)


@pytest.mark.faults
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=30_000, deadline=HANG)
@changed
def test_many_changed_bytes_give_a_picture_or_an_image_error(data, changes, copied, kept):
    check(data, changes, copied, kept)
