"""Scaling and cropping."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quantart.images.arrays import crop_to_aspect, resize, resize_short_side
from quantart.images.decode import read_image

PHOTO = Path(__file__).parents[1] / "pictures" / "kingfisher.jpg"
LIMIT = 1_000_000


def test_resize_short_side_keeps_the_aspect():
    picture = read_image(PHOTO, max_pixels=LIMIT)
    assert resize_short_side(picture, 128).shape == (128, 192, 3)
    assert resize_short_side(picture.transpose(1, 0, 2), 100).shape == (150, 100, 3)
    assert np.array_equal(resize_short_side(picture, 256), picture)
    assert abs(resize_short_side(picture, 64).mean() - picture.mean()) < 1


def test_resize_keeps_all_of_the_picture_whatever_its_aspect():
    picture = read_image(PHOTO, max_pixels=10**7)
    squashed = resize(picture, 64, 64)
    assert squashed.shape == (64, 64, 3)
    for half in (slice(None, 32), slice(32, None)):
        part = picture[:, : picture.shape[1] // 2] if half.start is None else picture[:, picture.shape[1] // 2 :]
        assert abs(squashed[:, half].mean() - part.mean()) < 1
    assert np.array_equal(resize(squashed, 64, 64), squashed)


def test_cropping_to_a_square_takes_the_centre():
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    assert crop_to_aspect(wide, 1.0).shape == (10, 10, 3)
    assert (crop_to_aspect(wide, 1.0) == 200).all()


def test_crop_to_aspect_cuts_both_ends():
    tall = np.arange(100, dtype=np.uint8)[:, None, None].repeat(20, 1).repeat(3, 2)
    cropped = crop_to_aspect(tall, 2.0)
    assert cropped.shape == (40, 20, 3)
    assert (cropped[0, 0, 0], cropped[-1, 0, 0]) == (30, 69)
    assert crop_to_aspect(tall, 5.0).shape == tall.shape
