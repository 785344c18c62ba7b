"""From a picture's file to the stored size: what the worker processes run."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass

from quantart.data.files import PictureFile
from quantart.images.arrays import Picture
from quantart.images.decode import ImageError, decode_image, read_file
from quantart.images.geometry import crop_to_aspect, resize, resize_short_side

# a picture enlarged more than this shows the resampling's pattern rather than a photograph or a painting
MAX_ENLARGEMENT = 4

# JPEGs far larger than their stored size are decoded at a smaller scale, whose short side is at least this many times
# the stored one: three times as fast, and invisible after scaling down to the stored size
DECODED = 2


@dataclass(frozen=True)
class Geometry:
    """How pictures are stored.

    Attributes:
        short_side: in pixels.
        max_aspect: long over short side; both ends of longer pictures are cut off.
        max_pixels: larger pictures are rejected.
        squash: scale every picture to a square of `short_side` whatever its aspect, as the reference does.
    """

    short_side: int
    max_aspect: float
    max_pixels: int
    squash: bool = False


@dataclass(frozen=True)
class Loaded:
    """A usable picture: its file's sha256 (hex) and its pixels, uint8 `(h, w, 3)`."""

    sha256: str
    picture: Picture


@dataclass(frozen=True)
class Rejected:
    """A file that can't be used, and why."""

    reason: str


def load_picture(file: PictureFile, geometry: Geometry) -> Loaded | Rejected:
    """Read, decode, crop and scale one picture. Never raises for what is in the file."""
    if file.fault is not None:
        return Rejected(file.fault)
    try:
        # read once, so that the hash is of the decoded bytes even if the file changes meanwhile
        data = read_file(file.path, file.offset, file.size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's warnings about odd metadata would break the progress bar
            picture = decode_image(data, max_pixels=geometry.max_pixels, least_side=DECODED * geometry.short_side)
        return Loaded(hashlib.sha256(data).hexdigest(), _fit(picture, geometry))
    except ImageError as error:
        return Rejected(str(error))


def _fit(picture: Picture, geometry: Geometry) -> Picture:
    height, width = picture.shape[:2]
    smallest = -(-geometry.short_side // MAX_ENLARGEMENT)
    if min(height, width) < smallest:
        raise ImageError(
            f"too small: {width} × {height} pixels; the short side must have at least {smallest}, "
            f"1/{MAX_ENLARGEMENT} of the {geometry.short_side} that are stored"
        )
    if geometry.squash:
        return resize(picture, geometry.short_side, geometry.short_side)
    # cropped first: a picture 30,000 pixels wide and one pixel high would not fit into memory when scaled
    return resize_short_side(crop_to_aspect(picture, geometry.max_aspect), geometry.short_side)
