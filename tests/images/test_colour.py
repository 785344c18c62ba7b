"""What stored values look like: the numbers are Chromium's own, and are asked of it again where it is installed."""

from __future__ import annotations

import base64
import io
import os
import shutil
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms

from quantart.images.decode import ImageError, decode_image

CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
VALUES = [0, 16, 64, 128, 200, 255]
ROWS = np.array([[[value] * 3 for value in VALUES], [[value, 64, 200] for value in VALUES]], np.uint8)
P3 = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, pixels: np.ndarray = ROWS, bits: int = 8, colour: int = 2) -> bytes:
    height, width = pixels.shape[:2]
    stored = pixels.astype(np.uint16) * 257 if bits == 16 else pixels
    lines = b"".join(b"\0" + row.astype(f">u{bits // 8}").tobytes() for row in stored)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def gama(value: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(value * 100_000)))


def chrm(*xy: int) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *xy))


def cicp(primaries: int, transfer: int) -> bytes:
    return chunk(b"cICP", bytes([primaries, transfer, 0, 1]))


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(profile))


def swapped_profile() -> bytes:
    """sRGB with red and green exchanged."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def avif(primaries: int, transfer: int, kind: str = "AVIF") -> bytes:
    """64 × 32 pixels of (128, 64, 200), said to be of these primaries and that transfer."""
    buffer = io.BytesIO()
    whole = {"chroma": 444} if kind == "HEIF" else {"subsampling": "4:4:4"}
    Image.new("RGB", (64, 32), (128, 64, 200)).save(buffer, kind, quality=100, **whole)
    data = buffer.getvalue()
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">HH", primaries, transfer) + data[place + 4 :]


GREY = ROWS[:1, :, :1]
PALETTE = chunk(b"PLTE", bytes(value for value in VALUES for _ in range(3)))
SAME, LINEAR = VALUES, [0, 71, 137, 188, 229, 255]
SRGB = chunk(b"sRGB", b"\0")
# the file, red of the first row, and the fourth pixel of the second: (128, 64, 200) as stored
CASES: dict[str, tuple[bytes, list[int], tuple[int, int, int]]] = {
    "nothing said": (png(), SAME, (128, 64, 200)),
    "linear": (png(gama(1)), LINEAR, (188, 137, 229)),
    "gamma of sRGB": (png(gama(0.45455)), SAME, (128, 64, 200)),
    "gamma 2": (png(gama(0.5)), [0, 13, 71, 137, 206, 255], (137, 71, 206)),
    "gamma 0": (png(gama(0)), SAME, (128, 64, 200)),
    "sRGB outranks gAMA": (png(gama(1), SRGB), SAME, (128, 64, 200)),
    "cHRM alone": (png(chrm(*P3)), SAME, (128, 64, 200)),
    "cHRM and gAMA": (png(gama(0.45455), chrm(*P3)), [0, 7, 62, 129, 201, 255], (139, 57, 209)),
    "cHRM and linear": (png(gama(1), chrm(*P3)), LINEAR, (197, 135, 235)),
    "impossible cHRM": (png(gama(1), chrm(*[0] * 8)), SAME, (128, 64, 200)),
    "iCCP outranks gAMA": (png(gama(1), iccp(swapped_profile())), SAME, (64, 128, 200)),
    "broken iCCP": (png(gama(1), iccp(b"no profile")), LINEAR, (188, 137, 229)),
    "cICP Display P3": (png(cicp(12, 13)), SAME, (138, 59, 207)),
    "cICP BT.2020": (png(cicp(9, 13)), SAME, (146, 45, 209)),
    "cICP linear": (png(cicp(1, 8)), LINEAR, (188, 137, 229)),
    "cICP BT.709": (png(cicp(1, 1)), [0, 4, 54, 121, 197, 255], (121, 54, 197)),
    "cICP outranks iCCP": (png(cicp(12, 13), iccp(swapped_profile())), SAME, (138, 59, 207)),
    "cICP sRGB outranks gAMA": (png(cicp(1, 13), gama(1)), SAME, (128, 64, 200)),
    "unknown cICP": (png(cicp(77, 13)), SAME, (128, 64, 200)),
    "unspecified cICP": (png(cicp(2, 2), gama(1)), LINEAR, (188, 137, 229)),
    "16 bits": (png(gama(1), bits=16), LINEAR, (188, 137, 229)),
    "grey": (png(gama(1), pixels=GREY, colour=0), LINEAR, (188, 188, 188)),
    "grey of 16 bits": (png(gama(1), pixels=GREY, bits=16, colour=0), LINEAR, (188, 188, 188)),
    "grey with cHRM": (png(gama(1), chrm(*P3), pixels=GREY, colour=0), LINEAR, (188, 188, 188)),
    "palette": (
        png(gama(1), PALETTE, pixels=np.arange(6, dtype=np.uint8).reshape(1, 6, 1), colour=3),
        LINEAR,
        (188, 188, 188),
    ),
    "AVIF sRGB": (avif(1, 13), [128], (128, 64, 200)),
    "AVIF Display P3": (avif(12, 13), [138], (138, 59, 207)),
    "AVIF linear": (avif(1, 8), [188], (188, 137, 229)),
    "AVIF BT.709": (avif(1, 1), [128], (128, 64, 200)),
}


@pytest.mark.parametrize("case", CASES)
def test_colours_are_those_of_a_browser(case):
    data, reds, pixel = CASES[case]
    picture = decode_image(data, max_pixels=10_000).astype(int)
    assert np.abs(picture[0, : len(reds), 0] - reds).max() <= 2
    assert np.abs(picture[-1, 3] - pixel).max() <= 2


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: install it, or name it in CHROMIUM")
def test_chromium_still_shows_these_numbers():
    from playwright.sync_api import sync_playwright

    draw = """async address => {
        const picture = new Image(); picture.src = address; await picture.decode();
        const canvas = new OffscreenCanvas(picture.naturalWidth, picture.naturalHeight);
        const context = canvas.getContext('2d', {colorSpace: 'srgb'}); context.drawImage(picture, 0, 0);
        return Array.from(context.getImageData(0, 0, canvas.width, canvas.height).data)}"""
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--force-color-profile=srgb"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page()
        for case, (data, reds, pixel) in CASES.items():
            kind = "avif" if case.startswith("AVIF") else "png"
            shown = page.evaluate(draw, f"data:image/{kind};base64,{base64.b64encode(data).decode()}")
            ours = decode_image(data, max_pixels=10_000).astype(int)
            theirs = np.array(shown).reshape(*ours.shape[:2], 4)[..., :3]
            assert np.abs(theirs[0, : len(reds), 0] - reds).max() <= 2, case
            assert np.abs(theirs[-1, 3] - pixel).max() <= 2, case
            assert np.abs(theirs - ours).max() <= 2, case
        browser.close()


@pytest.mark.parametrize("data", [png(cicp(9, 16)), png(cicp(9, 18)), avif(9, 16)], ids=["PQ", "HLG", "AVIF"])
def test_high_dynamic_range_is_refused_with_its_reason(data):
    with pytest.raises(ImageError, match="high dynamic range"):
        decode_image(data, max_pixels=10_000)


@pytest.mark.parametrize("codes", [(1, 13), (12, 13), (1, 8), (1, 1)])
def test_the_codes_in_a_heic_mean_what_they_mean_in_an_avif(codes):
    heic, other = (decode_image(avif(*codes, kind), max_pixels=10_000)[-1, 3].astype(int) for kind in ("HEIF", "AVIF"))
    assert np.abs(heic - other).max() <= 2


def test_remarks_of_any_size_do_not_matter():
    remarks = chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(bytes(5_000_000)))
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(200_000_000)))  # a bomb: 0.2 MB
    damaged = chunk(b"tEXt", b"x\0y")[:-1] + b"?"
    for extra in (remarks, text, damaged, chunk(b"tEXt", b"not text"), chunk(b"gAMA", b"")):
        assert np.array_equal(decode_image(png(extra), max_pixels=10_000), ROWS)


def test_a_profile_of_some_megabytes_is_applied_and_a_bomb_is_ignored():
    profile = swapped_profile()
    large = struct.pack(">I", 3_000_000) + profile[4:] + bytes(3_000_000 - len(profile))
    assert decode_image(png(iccp(large)), max_pixels=10_000)[1, 3].tolist() == [64, 128, 200]
    assert np.array_equal(decode_image(png(iccp(profile + bytes(100_000_000))), max_pixels=10_000), ROWS)


def test_the_profile_in_a_jpeg_2000_is_applied():
    buffer = io.BytesIO()
    Image.fromarray(ROWS.repeat(16, 0).repeat(16, 1)).save(buffer, "JPEG2000")
    data = buffer.getvalue()
    profile = swapped_profile()
    place = data.index(b"colr") - 4  # in the box jp2h, which grows by the difference
    box = struct.pack(">I", 11 + len(profile)) + b"colr\2\0\0" + profile
    outer = data.index(b"jp2h") - 4
    size = struct.unpack(">I", data[outer : outer + 4])[0] + len(box) - 15
    data = data[:outer] + struct.pack(">I", size) + data[outer + 4 : place] + box + data[place + 15 :]
    assert decode_image(data, max_pixels=100_000)[20, 50].tolist() == [64, 128, 200]
