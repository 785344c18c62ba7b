"""Encoding and writing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantart.errors import UserError
from quantart.images.arrays import encode_png, write_image
from quantart.images.decode import decode_image, read_image

PHOTO = Path(__file__).parents[1] / "pictures" / "kingfisher.jpg"
LIMIT = 1_000_000


def decoded(data: bytes) -> np.ndarray:
    return decode_image(data, max_pixels=LIMIT)


def test_png_is_lossless():
    picture = read_image(PHOTO, max_pixels=LIMIT)
    assert np.array_equal(decoded(encode_png(picture)), picture)


def test_write_image_follows_the_ending_and_leaves_nothing_else(tmp_path):
    picture = read_image(PHOTO, max_pixels=LIMIT)
    for name, file_format in (("a.png", "PNG"), ("b.JPG", "JPEG"), ("c.webp", "WEBP"), ("d" * 246 + ".png", "PNG")):
        write_image(tmp_path / name, picture)
        assert Image.open(tmp_path / name).format == file_format
    assert len(list(tmp_path.iterdir())) == 4


def test_write_image_never_writes_through_a_link(tmp_path):
    cached = np.zeros((2, 2, 3), np.uint8)
    write_image(tmp_path / "cached.png", cached)
    (tmp_path / "hard.png").hardlink_to(tmp_path / "cached.png")
    (tmp_path / "soft.png").symlink_to("cached.png")
    for name in ("hard.png", "soft.png"):
        write_image(tmp_path / name, cached + 255)
        assert (read_image(tmp_path / name, max_pixels=LIMIT) == 255).all()
    assert np.array_equal(read_image(tmp_path / "cached.png", max_pixels=LIMIT), cached)


def test_write_image_says_what_it_cannot_do(tmp_path):
    picture = np.zeros((2, 2, 3), np.uint8)
    with pytest.raises(UserError, match=r"x\.bmp: .*; .*\.png"):
        write_image(tmp_path / "x.bmp", picture)
    with pytest.raises(UserError, match=r"x\.png: .*No such file"):
        write_image(tmp_path / "missing" / "x.png", picture)
    with pytest.raises(ValueError, match=r"got float32 \(2, 2, 3\)"):
        write_image(tmp_path / "x.png", picture.astype(np.float32))
