"""A folder of pictures as people have them: odd ones that must be used correctly, and bad ones that must be set aside.

All are made from two photographs, but one: no library at hand writes arithmetic-coded JPEGs, so
`duck_arithmetic.jpg` was made by `jpegtran -arithmetic tests/pictures/duck.jpg` and has that picture's very pixels.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from quantart.images.arrays import Picture

PICTURES = Path(__file__).parents[1] / "pictures"
PHOTO, DUCK = PICTURES / "kingfisher.jpg", PICTURES / "duck.jpg"
ARITHMETIC = Path(__file__).with_name("duck_arithmetic.jpg")
SHORT_SIDE = 256  # of both photographs: pictures of their size are stored as they are
MAX_PIXELS = 12_000_000
MAX_ASPECT = 2.0

# what lossy formats may change, as the mean over the pixels of a photograph (0 to 255)
LOSSY = 3.0

_TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@dataclass(frozen=True)
class Good:
    """A file that must be used: its pixels, uint8 `(h, w, 3)`, and how far from them it may be on average."""

    data: bytes
    pixels: Picture
    tolerance: float = 0.0


@dataclass(frozen=True)
class Bad:
    """A file that must be set aside with a reason that begins so (a regular expression)."""

    data: bytes
    reason: str


def encoded(picture: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    """A picture as the bytes of a file; Pillow's options of that format."""
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def photo() -> Image.Image:
    """The photograph that most of the corpus is made from, as high as the pictures are stored."""
    return Image.open(PHOTO).convert("RGB")


def png(header: tuple[int, int, int, int], rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG by hand, for what Pillow doesn't write: (width, height, bits, colour type), and its rows unfiltered."""
    width, height, bits, colour = header
    stride = len(rows) // height
    lines = b"".join(b"\0" + rows[y * stride : (y + 1) * stride] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", head), extra, chunk(b"IDAT", zlib.compress(lines)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def chunk(kind: bytes, data: bytes) -> bytes:
    """One part of a PNG with its length and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def icc_profile() -> bytes:
    """The sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped_profile() -> bytes:
    """The sRGB profile with its red and green primaries exchanged."""
    profile = icc_profile()
    return profile.replace(b"rXYZ", b"????").replace(b"gXYZ", b"rXYZ").replace(b"????", b"gXYZ")


def grey_profile(gamma: float) -> bytes:
    """A profile of grey pictures: stored value^gamma is the light."""
    d50 = struct.pack(">3i", 63190, 65536, 54061)
    tags = {
        b"wtpt": b"XYZ \0\0\0\0" + d50,
        b"kTRC": b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0),
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"grey\0" + bytes(79),
    }
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(
        ">I4sI4s4s4s12x4s", start + len(body), b"\0\0\0\0", 0x02400000, b"mntr", b"GRAY", b"XYZ ", b"acsp"
    )
    return head.ljust(68, b"\0") + d50 + bytes(48) + table + body


def scan_bomb(scans: int, side: int = 64) -> bytes:
    """A progressive JPEG whose last scan, an empty one, is repeated."""
    whole = encoded(Image.new("L", (side, side), 128), "JPEG", progressive=True)
    start = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[start:-2] * scans + whole[-2:]


def truncated() -> dict[str, Bad]:
    """Every tenth of each format, cut off there."""
    kinds = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "gif": "GIF", "tif": "TIFF", "bmp": "BMP", "avif": "AVIF"}
    kinds |= {"heic": "HEIF", "jp2": "JPEG2000"}
    cut: dict[str, Bad] = {}
    for ending, file_format in kinds.items():
        data = encoded(photo(), file_format)
        for tenths in range(1, 10):
            cut[f"cut at {tenths} tenths.{ending}"] = Bad(data[: len(data) * tenths // 10], "broken picture|not a ")
    progressive = encoded(photo(), "JPEG", progressive=True)
    cut["cut progressive.jpg"] = Bad(progressive[: len(progressive) // 2], "broken picture: image file is truncated")
    return cut


def no_pictures() -> dict[str, Bad]:
    """Files that are no picture at all."""
    kind = r"not a JPEG, PNG, .* picture"
    return {
        "empty.jpg": Bad(b"", "the file is empty$"),
        "one byte.jpg": Bad(b"\xff", kind),
        "one zero.png": Bad(b"\0", kind),
        "all zero.jpg": Bad(bytes(4096), kind),
        "page.jpg": Bad(b"<!DOCTYPE html><html><body>404 Not Found</body></html>", rf"{kind}: it begins with b'<!DOC"),
        "drawing.png": Bad(b"<svg xmlns='http://www.w3.org/2000/svg'/>", kind),
        "script.jpg": Bad(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", kind),
        "archive.webp": Bad(b"PK\x03\x04" + PHOTO.read_bytes(), kind),
        "only a header.png": Bad(encoded(photo())[:33], "broken picture: a PNG whose header can't be read"),
    }


def unusable() -> dict[str, Bad]:
    """Pictures that are damaged, hostile, or of a kind whose colours are not defined."""
    whole = encoded(photo())
    head = bytearray(whole)
    head[whole.index(b"IHDR") + 17] ^= 1
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 4
    jpeg = PHOTO.read_bytes()
    frame = jpeg.index(b"\xff\xc0") + 5
    lying = jpeg[:frame] + b"\xff\xdc\xff\xdc" + jpeg[frame + 4 :]
    grey = np.asarray(photo().convert("L"))
    return {
        "checksum of the header.png": Bad(bytes(head), "broken picture|not a "),
        "one bit flipped.png": Bad(bytes(flipped), "broken picture"),
        "1 x 1.png": Bad(encoded(Image.new("RGB", (1, 1))), "too small: 1 × 1 pixels; the short side must have"),
        "30000 x 1.png": Bad(encoded(Image.new("RGB", (30_000, 1))), "too small: 30000 × 1 pixels"),
        "many pixels.png": Bad(encoded(Image.new("1", (4000, 4000))), "too large: 4000 × 4000 pixels, the limit is"),
        "bomb.png": Bad(encoded(Image.new("1", (14_000, 14_000))), "too large: "),
        "lying size.jpg": Bad(lying, "too large: "),
        "scan bomb.jpg": Bad(scan_bomb(2000, SHORT_SIDE), "a JPEG of more than 100 scans"),
        "32 bits.tif": Bad(encoded(Image.fromarray(grey.astype(np.int32) * 70_000), "TIFF"), "more than 16 bits"),
        "floating point.tif": Bad(encoded(Image.fromarray(grey / np.float32(255)), "TIFF"), "floating-point pictures"),
    }


def ordinary() -> dict[str, Good]:
    """Formats, modes and depths in which the same photograph may come."""
    own, rgb = photo(), np.asarray(photo())
    grey = np.asarray(own.convert("L"))
    grey_rgb = grey[..., None].repeat(3, 2)
    height, width = grey.shape
    deep_grey, deep = grey.astype(np.uint16) * 257, rgb.astype(np.uint16) * 257
    palette = own.quantize(200)
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    noted = PngInfo()
    noted.add_text("comment", "a note\nin two lines")
    large = PngInfo()
    large.add_text("comment", " " * 2_000_000, zip=True)
    checksum = bytearray(encoded(own))
    checksum[-16] ^= 1  # of the last pixels, which Pillow leaves to zlib's own sum inside; that one still fits
    return {
        "baseline.jpg": Good(PHOTO.read_bytes(), rgb),
        "progressive.jpg": Good(encoded(own, "JPEG", progressive=True, quality=95), rgb, LOSSY),
        "arithmetic.jpg": Good(ARITHMETIC.read_bytes(), np.asarray(Image.open(DUCK))),
        "restarts.jpg": Good(encoded(own, "JPEG", restart_marker_rows=1, quality=95), rgb, LOSSY),
        "film behind it.jpg": Good(PHOTO.read_bytes() + b"\0\0\0\x18ftypmp42" + b"\xff\xda\0\2" * 500, rgb),
        "with a preview.jpg": Good(
            encoded(own, "MPO", save_all=True, append_images=[own.resize((96, 64))], quality=95), rgb, LOSSY
        ),
        "cmyk.jpg": Good(encoded(own.convert("CMYK"), "JPEG", quality=95), rgb, LOSSY),
        "cmyk.tif": Good(encoded(own.convert("CMYK"), "TIFF"), rgb),
        "lab.tif": Good(encoded(to_lab.apply(own), "TIFF"), rgb, 1.0),
        "grey.jpg": Good(encoded(own.convert("L"), "JPEG", quality=95), grey_rgb, LOSSY),
        "grey.png": Good(encoded(own.convert("L")), grey_rgb),
        "one bit.png": Good(encoded(own.convert("1")), np.asarray(own.convert("1").convert("RGB"))),
        "16 bit grey.png": Good(encoded(Image.fromarray(deep_grey)), grey_rgb),
        "16 bit grey.tif": Good(encoded(Image.fromarray(deep_grey), "TIFF"), grey_rgb),
        "16 bit colour.png": Good(png((width, height, 16, 2), deep.astype(">u2").tobytes()), rgb),
        "palette.png": Good(encoded(palette), np.asarray(palette.convert("RGB"))),
        "lossless.webp": Good(encoded(own, "WEBP", lossless=True), rgb),
        "lossy.webp": Good(encoded(own, "WEBP"), rgb, LOSSY),
        "still.gif": Good(encoded(own, "GIF"), rgb, LOSSY),
        "still.bmp": Good(encoded(own, "BMP"), rgb),
        "still.avif": Good(encoded(own, "AVIF"), rgb, LOSSY),
        "compressed.tif": Good(encoded(own, "TIFF", compression="tiff_lzw"), rgb),
        "two pages.tiff": Good(encoded(own, "TIFF", save_all=True, append_images=[own.rotate(180)]), rgb),
        "with a note.png": Good(encoded(own, pnginfo=noted), rgb),
        "with a text bomb.png": Good(encoded(own, pnginfo=large, compress_level=2), rgb),
        "checksum of the last pixels.png": Good(bytes(checksum), rgb),
        "really a png.jpg": Good(encoded(own, compress_level=1), rgb),
        "really a jpeg.png": Good(encoded(own, "JPEG", quality=94), rgb, LOSSY),
        "from a phone.HEIC": Good(encoded(own, "HEIF", quality=90), rgb, LOSSY),
        "from an archive.jp2": Good(encoded(own, "JPEG2000"), rgb),
        "codestream.j2k": Good(encoded(own, "JPEG2000", no_jp2=True, irreversible=True), rgb, LOSSY),
        "from a browser.jfif": Good(encoded(own, "JPEG", quality=96), rgb, LOSSY),
        "from a forum.jpg_large": Good(encoded(own, "JPEG", quality=97), rgb, LOSSY),
        "from a shop.jpe": Good(encoded(own, "JPEG", quality=98), rgb, LOSSY),
        "no ending": Good(encoded(own, "JPEG", quality=93), rgb, LOSSY),
        "really a webp.GIF": Good(encoded(own, "WEBP", lossless=True, quality=10), rgb),
        "30000 wide.png": Good(encoded(strip(), compress_level=1), np.asarray(strip())[:, 15_000 - 256 : 15_000 + 256]),
    }


def strip() -> Image.Image:
    """The photograph side by side with itself, 30,000 pixels wide."""
    return Image.fromarray(np.tile(np.asarray(photo()), (1, 79, 1))[:, :30_000])


def see_through() -> dict[str, Good]:
    """Transparency, which is laid on white, and animations, whose first picture counts."""
    own, rgb = photo(), np.asarray(photo())
    grey = np.asarray(own.convert("L"))
    height, width = grey.shape
    left = np.arange(width) < width // 2
    half = Image.fromarray(np.broadcast_to(np.where(left, 0, 255), grey.shape).astype(np.uint8))
    white_left, grey_left = np.where(left[:, None], 255, rgb), np.where(left, 255, grey)[..., None].repeat(3, 2)
    coloured, toned = own.copy(), own.convert("L")
    coloured.putalpha(half)
    toned.putalpha(half)
    palette = own.quantize(200)
    clear = np.isin(np.asarray(palette), range(0, 200, 2))[..., None]
    entries = bytes([0, 255] * 100)
    deep_grey, deep = grey.astype(np.uint16) * 257, rgb.astype(np.uint16) * 256 + 7
    key, grey_key = rgb[100, 100], grey[100, 100]
    keyed, grey_keyed = (rgb == key).all(-1)[..., None], (grey == grey_key)[..., None]
    frames = {"save_all": True, "append_images": [own.rotate(180), own.rotate(90)]}
    return {
        "alpha.png": Good(encoded(coloured), white_left),
        "alpha.webp": Good(encoded(coloured, "WEBP", lossless=True), white_left),
        "alpha.tif": Good(encoded(coloured, "TIFF"), white_left),
        "grey alpha.png": Good(encoded(toned), grey_left),
        "clear palette.png": Good(
            encoded(palette, transparency=entries), np.where(clear, 255, np.asarray(palette.convert("RGB")))
        ),
        "clear colour.png": Good(encoded(own, transparency=tuple(map(int, key))), np.where(keyed, 255, rgb)),
        "16 bit clear colour.png": Good(
            png(
                (width, height, 16, 2),
                deep.astype(">u2").tobytes(),
                chunk(b"tRNS", struct.pack(">3H", *(256 * int(value) + 7 for value in key))),
            ),
            np.where(keyed, 255, rgb),
        ),
        "16 bit clear grey.png": Good(
            png((width, height, 16, 0), deep_grey.astype(">u2").tobytes(), chunk(b"tRNS", bytes([grey_key] * 2))),
            np.where(grey_keyed, 255, grey[..., None]).repeat(3, 2),
        ),
        "animated.gif": Good(encoded(own, "GIF", **frames), rgb, LOSSY),
        "animated.webp": Good(encoded(own, "WEBP", lossless=True, **frames), rgb),
        "animated.png": Good(encoded(own, **frames), rgb),
        "animated, cut in its second half.png": Good(cut(encoded(own, **frames)), rgb),
    }


def cut(data: bytes) -> bytes:
    """The first nine tenths."""
    return data[: len(data) * 9 // 10]


def turned() -> dict[str, Good]:
    """All orientations that a camera may note, and a note that can't be read."""
    own, rgb = photo(), np.asarray(photo())
    pictures: dict[str, Good] = {}
    for orientation, way in _TURNED.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = own if way is None else own.transpose(way)
        pictures[f"orientation {orientation}.jpg"] = Good(encoded(stored, "JPEG", exif=exif, quality=95), rgb, LOSSY)
        for ending, file_format, options in (
            ("png", "PNG", {}),
            ("webp", "WEBP", {"lossless": True}),
            ("tif", "TIFF", {}),
        ):
            pictures[f"orientation {orientation}.{ending}"] = Good(
                encoded(stored, file_format, exif=exif, **options), rgb
            )
    broken = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\x07" * 30
    pictures["broken note.jpg"] = Good(encoded(own, "JPEG", exif=broken, quality=95), rgb, LOSSY)
    return pictures


def profiled() -> dict[str, Good]:
    """Colour profiles: applied, or ignored where they can't be."""
    own, rgb = photo(), np.asarray(photo())
    red, green, blue = own.split()
    swapped, toned = Image.merge("RGB", (green, red, blue)), own.convert("L")
    # the light of a grey picture whose stored values are that light's square root
    light = (np.asarray(toned) / 255.0) ** 2
    seen = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    seen_rgb = seen.round().astype(np.uint8)[..., None].repeat(3, 2)
    grey_rgb = np.asarray(toned)[..., None].repeat(3, 2)
    own_profile, other, square = icc_profile(), swapped_profile(), grey_profile(2.0)
    opaque = toned.copy()
    opaque.putalpha(255)
    deep = Image.fromarray(np.asarray(toned).astype(np.uint16) * 257)
    return {
        "srgb profile.png": Good(encoded(own, icc_profile=own_profile), rgb, 1.0),
        "swapped primaries.png": Good(encoded(swapped, icc_profile=other), rgb, 1.0),
        "swapped primaries.jpg": Good(encoded(swapped, "JPEG", icc_profile=other, quality=95), rgb, LOSSY),
        "swapped primaries.webp": Good(encoded(swapped, "WEBP", icc_profile=other, lossless=True), rgb, 1.0),
        "grey profile.png": Good(encoded(toned, icc_profile=square), seen_rgb, 1.0),
        "grey alpha profile.png": Good(encoded(opaque, icc_profile=square), seen_rgb, 1.0),
        "16 bit grey profile.png": Good(encoded(deep, icc_profile=square), seen_rgb, 1.0),
        "no profile really.png": Good(encoded(own, icc_profile=b"not a profile"), rgb),
        "profile of another mode.png": Good(encoded(toned, icc_profile=own_profile), grey_rgb),
    }


def named() -> dict[str, Good]:
    """Names that break tables, shells and terminals. Each picture is another, else they would be duplicates."""
    names = [
        "two  words .jpg",
        "line\nbreak\r.jpg",
        "🐼 панда.jpg",
        "é" * 123 + ".jpg",
        "=HYPERLINK(1).jpg",
        '"quoted", with a comma.jpg',
        "<script>alert(1)<.jpg",
        "$(reboot); `ls` %s {0}.jpg",
        "-rf.jpg",
        "tab\tescape\x1b[31m.jpg",
        "folder.jpg/inside.jpg",
        "deep/er/and deeper/x.JPEG",
    ]
    others = [np.roll(np.asarray(photo()), 20 * (place + 1), axis=1) for place in range(len(names))]
    return {name: Good(encoded(Image.fromarray(other)), other) for name, other in zip(names, others, strict=True)}


@cache
def good() -> dict[str, Good]:
    """Everything that must be used, by file name."""
    return ordinary() | see_through() | turned() | profiled() | named()


@cache
def bad() -> dict[str, Bad]:
    """Everything that must be set aside, by file name."""
    return no_pictures() | unusable() | truncated()
