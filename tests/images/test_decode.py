"""Decoding other people's pictures."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from quantart.images.decode import ImageError, decode_image, read_image

PHOTO = Path(__file__).parents[1] / "pictures" / "kingfisher.jpg"
LIMIT = 1_000_000
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def encoded(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def two_colours() -> Image.Image:
    """40 × 20, red on the left, blue on the right."""
    picture = Image.new("RGB", (40, 20), RED)
    picture.paste(BLUE, (20, 0, 40, 20))
    return picture


def decoded(data: bytes) -> np.ndarray:
    return decode_image(data, max_pixels=LIMIT)


def palette_with_clear_left() -> Image.Image:
    picture = Image.new("P", (40, 20), 0)
    picture.putpalette([*RED, *BLUE])
    picture.paste(1, (20, 0, 40, 20))
    return picture


def icc_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """The sRGB profile with the tags of its red and green primaries exchanged: colours visibly change."""
    profile = icc_profile()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def repeated_scans(scans: int) -> bytes:
    """A progressive JPEG whose last scan, an empty one, is repeated."""
    whole = encoded(Image.new("L", (64, 64), 128), "JPEG", progressive=True)
    return whole[:-2] + whole[whole.rindex(b"\xff\xda") : -2] * scans + whole[-2:]


def test_a_photograph_decodes_to_its_own_pixels():
    picture = read_image(PHOTO, max_pixels=LIMIT)
    assert picture.shape == (256, 384, 3)
    assert picture.dtype == np.uint8
    assert picture.flags.writeable
    assert np.array_equal(picture, np.asarray(Image.open(PHOTO)))


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "GIF", "WEBP"])
def test_lossless_formats_decode_exactly(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    assert np.array_equal(decoded(encoded(two_colours(), file_format, **options)), np.asarray(two_colours()))


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
    ],
)
def test_exif_orientation_is_undone(orientation, stored, file_format):
    upright = two_colours()
    upright.paste((0, 255, 0), (0, 0, 40, 10))  # no two of the eight turns of this one look the same
    upright.paste(WHITE, (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    turned = upright if stored is None else upright.transpose(stored)
    picture = decoded(encoded(turned, file_format, exif=exif))
    assert picture.shape == (20, 40, 3)
    for x, y in ((5, 5), (35, 5), (5, 15), (35, 15)):
        assert np.abs(picture[y, x].astype(int) - np.asarray(upright)[y, x]).max() < 40


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_picture_with_a_broken_exif_block_is_decoded():
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\x07" * 30
    assert decoded(encoded(two_colours(), "JPEG", exif=exif)).shape == (20, 40, 3)


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_transparency_is_laid_on_white(transparency):
    picture = decoded(encoded(palette_with_clear_left(), transparency=transparency))
    assert tuple(picture[10, 5]) == WHITE
    assert tuple(picture[10, 35]) == BLUE


def test_half_transparent_is_mixed_with_white():
    rgba = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert tuple(decoded(encoded(rgba))[0, 0]) == (255, 127, 127)


def test_grey_with_alpha_is_laid_on_white():
    assert tuple(decoded(encoded(Image.new("LA", (4, 4), (0, 0))))[0, 0]) == WHITE


def test_grey_gets_three_equal_channels():
    assert (decoded(encoded(Image.new("L", (4, 4), 77))) == 77).all()


def test_one_bit_is_black_and_white():
    assert (decoded(encoded(Image.new("1", (4, 4), 1))) == 255).all()


def test_cmyk_becomes_rgb():
    picture = decoded(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=100))
    assert picture.shape == (16, 16, 3)
    assert np.abs(picture[8, 8].astype(int) - RED).max() < 4


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_16_bit_grey_is_scaled_not_clipped(file_format):
    values = np.array([[0, 257, 32896, 65535]], dtype=np.uint16).repeat(4, 0)
    picture = decoded(encoded(Image.fromarray(values), file_format))
    assert picture[0, :, 0].tolist() == [0, 1, 128, 255]
    assert (picture == picture[..., :1]).all()


def test_32_bit_and_floating_point_are_refused_with_a_reason():
    with pytest.raises(ImageError, match="more than 16 bits"):
        decoded(encoded(Image.fromarray(np.full((4, 4), 70_000, np.int32)), "TIFF"))
    with pytest.raises(ImageError, match="floating-point"):
        decoded(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_an_embedded_profile_is_converted_to_srgb(mode):
    stored = Image.new("RGB", (4, 4), RED).convert(mode)
    picture = decoded(encoded(stored, icc_profile=swapped_profile()))
    assert np.abs(picture[0, 0].astype(int) - (0, 255, 0)).max() <= 4
    plain = decoded(encoded(stored, icc_profile=icc_profile()))
    assert np.abs(plain[0, 0].astype(int) - RED).max() <= 1


def test_a_profiled_picture_keeps_its_transparency():
    stored = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert tuple(decoded(encoded(stored, icc_profile=swapped_profile()))[0, 0]) == WHITE


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "L"])
def test_a_broken_or_unfitting_profile_is_ignored(mode):
    stored = Image.new("RGB", (16, 16), (128, 128, 128)).convert(mode)
    expected = decoded(encoded(stored, "TIFF"))
    assert np.array_equal(decoded(encoded(stored, "TIFF", icc_profile=b"not a profile")), expected)
    if mode != "RGB":
        assert np.array_equal(decoded(encoded(stored, "TIFF", icc_profile=icc_profile())), expected)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_the_first_frame_of_an_animation_is_taken(file_format):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, BLUE)]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert np.abs(decoded(data)[4, 4].astype(int) - RED).max() <= 1


def test_one_pixel_and_a_line_decode():
    assert decoded(encoded(Image.new("RGB", (1, 1), BLUE))).tolist() == [[list(BLUE)]]
    assert decoded(encoded(Image.new("L", (30_000, 1)))).shape == (1, 30_000, 3)


def test_too_many_pixels_are_refused_before_decoding():
    whole = encoded(Image.new("L", (1001, 1000)))
    header_only = whole[:60]  # would be found truncated if its pixels were looked at
    with pytest.raises(ImageError, match=r"1001 × 1000 pixels, the limit is 1000000 pixels; scale it down$"):
        decode_image(header_only, max_pixels=1_000_000)
    assert decode_image(whole, max_pixels=1_001_000).shape == (1000, 1001, 3)


def test_a_heic_whose_header_promises_less_than_is_in_it_is_refused():
    data = bytearray(encoded(two_colours().resize((256, 192)), "HEIF"))
    size = data.index(b"ispe") + 8
    data[size : size + 8] = (64).to_bytes(4) * 2
    with pytest.raises(ImageError, match="size"):
        decode_image(bytes(data), max_pixels=64 * 64)


def test_a_decompression_bomb_is_refused():
    bomb = encoded(Image.new("1", (14_000, 14_000)))
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match="too large"):
        decode_image(bomb, max_pixels=100_000_000)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux says it there")
def test_a_large_picture_is_decoded_within_the_memory_that_is_stated(tmp_path):
    """Pillow's own copy and ours (docs/data.md: 8 bytes a pixel), and what is made of a band of 2^24 pixels."""
    picture = Image.linear_gradient("L").resize((8000, 6000))
    Image.merge("RGB", (picture,) * 3).save(tmp_path / "large.png", compress_level=1)
    script = "from quantart.images.decode import read_image; from pathlib import Path; import re, sys;"
    # not ru_maxrss, which begins with what the process that started this one had
    script += "peak = lambda: int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1024;"
    script += "before = peak();"
    script += "read_image(Path(sys.argv[1]), max_pixels=10**8); print(peak() - before)"
    command = [sys.executable, "-c", script, str(tmp_path / "large.png")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert int(done.stdout) < 8 * 8000 * 6000 + 8 * 2**24


def test_the_limit_is_the_one_that_is_given_and_no_warning_is_printed(tmp_path):
    """Pillow warns from 89 million pixels on and stops at 179 million; phones have 200 million."""
    Image.new("L", (16_320, 12_240), 99).save(tmp_path / "phone.jpg", quality=30)
    script = "from pathlib import Path; from quantart.images.decode import decode_image, stored_size; import sys;"
    script += "data = Path(sys.argv[1]).read_bytes(); print(stored_size(data, max_pixels=250_000_000),"
    script += "decode_image(data, max_pixels=250_000_000, least_side=288).shape)"
    command = [sys.executable, "-W", "default", "-c", script, str(tmp_path / "phone.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    assert done.stdout.strip() == "(12240, 16320) (1530, 2040, 3)"
    assert "PIL" not in done.stderr


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\xff", "not a JPEG.* picture"),
        (b"II*\0\x08\0\0\0\xff\xff", "a TIFF whose header can't be read"),
        (b"<!DOCTYPE html><html><body>404</body></html>", "begins with b'<!DOCTYPE html><"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a JPEG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "not a JPEG"),
    ],
)
def test_bytes_that_are_no_picture_are_reported(data, message):
    with pytest.raises(ImageError, match=message):
        decoded(data)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("tenths", range(1, 10))
def test_truncated_pictures_are_refused(file_format, tenths):
    data = encoded(Image.open(PHOTO), file_format)
    with pytest.raises(ImageError):
        decoded(data[: len(data) * tenths // 10])


def test_a_png_with_a_wrong_checksum_is_refused():
    data = bytearray(encoded(Image.open(PHOTO)))
    data[data.index(b"IHDR") + 17] ^= 1  # the first byte of the header's CRC
    with pytest.raises(ImageError):
        decoded(bytes(data))


def test_a_jpeg_of_endless_scans_is_refused_and_one_of_many_is_not():
    scans = repeated_scans(0).count(b"\xff\xda")
    assert decoded(repeated_scans(100 - scans)).shape == (64, 64, 3)
    with pytest.raises(ImageError, match="more than 100 scans"):
        decoded(repeated_scans(101 - scans))


def test_scans_after_a_marker_without_a_length_are_counted():
    whole = repeated_scans(200)
    start = whole.index(b"\xff\xda", whole.index(b"\xff\xda") + 2)
    with pytest.raises(ImageError, match="more than 100 scans"):
        decoded(whole[:start] + b"\xff\x01" + whole[start:])


def test_read_image_names_the_file(tmp_path):
    for name, message in (("none.jpg", "No such file"), (".", "not a regular file")):
        with pytest.raises(ImageError, match=message) as caught:
            read_image(tmp_path / name, max_pixels=LIMIT)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="not a regular file"):
        read_image(tmp_path / "pipe.jpg", max_pixels=LIMIT)
