"""TIFFs as scanners and archives write them."""

from __future__ import annotations

import io
import itertools
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from quantart.images.decode import ImageError, decode_image, stored_size

PHOTO = Image.open(Path(__file__).parents[1] / "pictures" / "kingfisher.jpg").convert("RGB")
RGB = np.asarray(PHOTO.resize((97, 61)))
GREY = np.asarray(PHOTO.resize((97, 61)).convert("L"))[..., None]
SRGB, LAB = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
CIELAB = np.asarray(ImageCms.buildTransform(SRGB, LAB, "RGB", "LAB").apply(Image.fromarray(RGB)))
COMPRESSIONS = {1: "raw", 5: "tiff_lzw", 8: "tiff_adobe_deflate", 32773: "packbits"}


def as_bits(values: np.ndarray, bits: int, photometric: int) -> np.ndarray:
    """Values of 8 bits as those of `bits` bits."""
    scaled = (values.astype(np.int64) * (2**bits - 1) + 127) // 255
    if photometric == 8:  # a and b are signed
        signed = values[..., 1:].astype(np.uint8).view(np.int8).astype(np.int64) << (bits - 8)
        scaled[..., 1:] = signed & (2**bits - 1)
    if photometric == 9:  # a and b from 0
        scaled = values.astype(np.int64) ^ np.array([0, 128, 128])
        scaled <<= bits - 8
    return scaled


def packed(values: np.ndarray, bits: int, endian: str) -> np.ndarray:
    """`(h, n)` samples as rows of bytes."""
    if bits in {8, 16}:
        return values.astype(f"{endian}u{bits // 8}").view(np.uint8)
    single = (values[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(single.reshape(len(values), -1).astype(np.uint8), axis=1)


def strips(rows: np.ndarray, compression: int) -> tuple[list[bytes], int]:
    """Rows of bytes as compressed strips, and the rows in each: as Pillow writes a grey picture of these bytes."""
    buffer = io.BytesIO()
    Image.fromarray(rows).save(buffer, "TIFF", compression=COMPRESSIONS[compression], strip_size=4000)
    data = buffer.getvalue()
    with Image.open(io.BytesIO(data)) as grey:
        tags = grey.tag_v2  # type: ignore[attr-defined]
        found = [data[start : start + count] for start, count in zip(tags[273], tags[279], strict=True)]
        return found, tags[278]


def tiff(
    values: np.ndarray,
    photometric: int = 2,
    *,
    bits: int = 8,
    planar: bool = False,
    endian: str = "<",
    big: bool = False,
    compression: int = 1,
    predictor: bool = False,
    extra: tuple[tuple[int, int, list[int]], ...] = (),
) -> bytes:
    """A TIFF of `(h, w, c)` samples of 8 bits, which are spread over `bits` bits; `extra` are (tag, type, values)."""
    height, width, channels = values.shape
    samples = as_bits(values, bits, photometric)
    if predictor:
        samples = np.diff(samples, axis=1, prepend=0) & (2**bits - 1)
    planes = [samples[..., c] for c in range(channels)] if planar else [samples.reshape(height, -1)]
    made = [strips(packed(plane, bits, endian), compression) for plane in planes]
    parts, rows = [part for found, _ in made for part in found], made[0][1]
    tags: list[tuple[int, int, list[int]]] = [
        *((256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [compression])),
        *((262, 3, [photometric]), (277, 3, [channels]), (278, 4, [rows]), (284, 3, [1 + planar])),
        *((279, 4, [len(part) for part in parts]), (317, 3, [1 + predictor]), *extra),
    ]
    word, entry, start, size = ("Q", "HHQ", 16, 20) if big else ("I", "HHI", 8, 12)
    place = start + (8 if big else 2) + size * (len(tags) + 1) + (8 if big else 4)
    body = b"".join(parts)
    tags.append((273, 4, [place + sum(map(len, parts[:i])) for i in range(len(parts))]))
    table = struct.pack(endian + ("Q" if big else "H"), len(tags))
    for tag, kind, numbers in sorted(tags):
        data = struct.pack(f"{endian}{len(numbers)}{'BHI'[(1, 3, 4).index(kind)]}", *numbers)
        if len(data) > struct.calcsize(word):
            body, data = body + data, struct.pack(endian + word, place + len(body))
        table += struct.pack(endian + entry, tag, kind, len(numbers)) + data.ljust(struct.calcsize(word), b"\0")
    order = b"II" if endian == "<" else b"MM"
    head = struct.pack(endian + "HHHQ", 43, 8, 0, 16) if big else struct.pack(endian + "HI", 42, 8)
    return order + head + table + bytes(8 if big else 4) + body


def decoded(data: bytes) -> np.ndarray:
    return decode_image(data, max_pixels=10_000).astype(int)


KINDS = {"colour": (RGB, 2, RGB), "grey": (GREY, 1, GREY), "white is zero": (255 - GREY, 0, GREY)}
KINDS |= {"CIELAB": (CIELAB, 8, RGB), "ICC's Lab": (CIELAB, 9, RGB)}
LAYOUTS = itertools.product((8, 12, 14, 16), (False, True), "<>", (False, True))
WAYS = [(*layout, list(COMPRESSIONS)[(place + place // 4) % 4]) for place, layout in enumerate(LAYOUTS)]


@pytest.mark.parametrize("kind", KINDS)
def test_every_layout_shows_the_same_picture(kind):
    values, photometric, shown = KINDS[kind]
    wrong = []
    for bits, planar, endian, big, compression in WAYS:
        if planar and values.shape[2] == 1:
            continue
        data = tiff(values, photometric, bits=bits, planar=planar, endian=endian, big=big, compression=compression)
        off = np.abs(decoded(data) - shown)
        if off.mean() > (1.5 if photometric > 2 else 0.6) or off.max() > 40:
            wrong.append((bits, planar, endian, big, compression, off.mean()))
    assert wrong == []


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("endian", "<>")
def test_differences_between_neighbours_are_added_up(bits, endian):
    for planar in (False, True):
        data = tiff(RGB, bits=bits, planar=planar, endian=endian, big=True, compression=5, predictor=True)
        assert np.abs(decoded(data) - RGB).max() <= 1


@pytest.mark.parametrize(("extra", "shown"), [(2, (255, 127, 127)), (1, (255, 127, 127)), (0, (255, 0, 0))])
def test_a_plane_behind_the_colours_is_what_the_file_says(extra, shown):
    red = 255 if extra != 1 else 128  # multiplied by alpha
    values = np.broadcast_to(np.array([red, 0, 0, 128], np.uint8), (16, 16, 4))
    data = tiff(values, planar=True, extra=((338, 3, [extra]),))
    assert np.abs(decoded(data)[8, 8] - shown).max() <= 1


def test_tiles_are_put_together():
    planes = [np.pad(RGB[..., c], ((0, 3), (0, 15))) for c in range(3)]  # 7 × 4 tiles of 16 × 16
    tiles = [p[y : y + 16, x : x + 16] for p in planes for y in range(0, 64, 16) for x in range(0, 112, 16)]
    whole = tiff(np.zeros((1, 1, 3), np.uint8), planar=True)
    counts = [len(tile.tobytes()) for tile in tiles]
    offsets = [len(whole) + 1024 * 8 + sum(counts[:i]) for i in range(len(tiles))]
    tags = ((256, 4, [97]), (257, 4, [61]), (322, 4, [16]), (323, 4, [16]), (324, 4, offsets), (325, 4, counts))
    data = tiff(np.zeros((1, 1, 3), np.uint8), planar=True, extra=tags)
    for tag, side in ((256, 1), (257, 1)):  # those of the one pixel that made the file
        data = data.replace(struct.pack("<HHII", tag, 4, 1, side), struct.pack("<HHII", 65000, 4, 1, side))
    data = data.ljust(len(whole) + 1024 * 8, b"\0") + b"".join(tile.tobytes() for tile in tiles)
    assert np.array_equal(decoded(data), RGB)


def test_orientation_and_profile_are_applied():
    turned = tiff(np.rot90(RGB), planar=True, extra=((274, 3, [6]),))
    assert np.array_equal(decoded(turned), RGB)
    profile = ImageCms.ImageCmsProfile(SRGB).tobytes()
    swapped = profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")
    coloured = tiff(RGB[..., [1, 0, 2]], planar=True, extra=((34675, 1, list(swapped)),))
    assert np.abs(decoded(coloured) - RGB).mean() < 1


def test_the_size_is_read_and_limited_before_the_pixels():
    data = tiff(RGB, bits=12, compression=5)
    assert stored_size(data, max_pixels=10_000) == (61, 97)
    with pytest.raises(ImageError, match="97 × 61 pixels, the limit is 5000 pixels"):
        decode_image(data, max_pixels=5000)
    with pytest.raises(ImageError):
        decoded(data[: len(data) // 2])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(RGB, bits=12, extra=((254, 4, [1]),)), "raw file"),
        (tiff(RGB, extra=((50706, 1, [1, 4, 0, 0]),)), "raw file"),
        (tiff(GREY, 32803, bits=14), "raw file"),
        (tiff(RGB, 6, endian=">", big=True), "whose colours can't be read"),
        (tiff(RGB, bits=12, predictor=True), "whose predictor can't be read"),
        (tiff(GREY, 2, bits=12), "whose samples per pixel can't be read"),
    ],
)
def test_what_cannot_be_read_is_told_truly(data, reason):
    with pytest.raises(ImageError, match=reason):
        decoded(data)


def test_thousands_of_tags_that_each_name_the_whole_file_are_not_read():
    entry = struct.pack("<HHII", 258, 1, 5_000_000, 0)
    bomb = b"II*\0\x08\0\0\0" + struct.pack("<H", 4000) + entry * 4000
    start = time.monotonic()
    with pytest.raises(ImageError):
        decoded(bomb.ljust(5_000_000, b"\0"))
    assert time.monotonic() - start < 10
