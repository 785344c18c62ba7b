"""TIFFs of scanners and archives that Pillow refuses or reads wrong: an additional reader of that format for Pillow.

These are samples of 9 to 15 bits, one plane per channel, CIELAB in other forms than 8 bits side by side, 16-bit grey
whose zero is white, and big-endian BigTIFF. Their rows are unpacked by Pillow's libtiff as if they were grey bytes, a
few megabytes at a time, and interpreted here.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from quantart.images.fault import ImageError

SCANNER_TIFF = "SCANNER_TIFF"  # the reader's name among Pillow's

_TYPES = {1: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _COUNTS, _PLANAR, _PREDICTOR = 273, 274, 277, 278, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS = 322, 323, 324, 325
_EXTRA, _SAMPLE_FORMAT, _PROFILE, _DNG = 338, 339, 34675, 50706
_READ = {_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _FILL_ORDER, _OFFSETS, _ORIENTATION, _SAMPLES}
_READ |= {_ROWS_PER_STRIP, _COUNTS, _PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_COUNTS}
_READ |= {_EXTRA, _SAMPLE_FORMAT, _PROFILE, _DNG}
_DEFAULTS = {_BITS: 1, _COMPRESSION: 1, _FILL_ORDER: 1, _SAMPLES: 1, _PLANAR: 1, _PREDICTOR: 1, _ORIENTATION: 1}

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK, _CIELAB, _ICCLAB = 0, 1, 2, 5, 8, 9
_MODES = {_WHITE_IS_ZERO: "L", _BLACK_IS_ZERO: "L", _RGB: "RGB", _CMYK: "CMYK", _CIELAB: "LAB", _ICCLAB: "LAB"}
_RAW_PHOTOMETRICS = {32803, 34892}
_COMPRESSIONS = {1, 5, 8, 32773, 32946}  # none, LZW, deflate, PackBits; the others make pictures, not bytes
_MAX_SAMPLES = 8
_BLOCK = 2**22  # bytes that are unpacked or interpreted at once

Samples = NDArray[np.uint8] | NDArray[np.uint16]


class ScannerTiff(ImageFile.ImageFile):
    """What Pillow opens such a file as, with pixels of 8 bits. Ordinary TIFFs are left to Pillow's own reader."""

    format = "TIFF"

    def _open(self) -> None:
        data = self.fp.read() if self.fp else b""
        layout = _Layout(data)
        if layout.one(_SUBFILE, 0) & 1 or _DNG in layout.tags or layout.photometric in _RAW_PHOTOMETRICS:
            raise ImageError("a camera's raw file, or a preview of another picture", "develop it to a TIFF or JPEG")
        if layout.is_ordinary:
            raise SyntaxError("Pillow's own reader can do it")
        layout.check()
        self._layout: _Layout | None = layout
        self._size, self._mode = (layout.width, layout.height), layout.mode
        if _PROFILE in layout.tags:
            self.info["icc_profile"] = bytes(layout.tags[_PROFILE])
        exif = Image.Exif()
        exif[_ORIENTATION] = layout.one(_ORIENTATION)
        self.info["exif"] = exif.tobytes()

    def load(self) -> Any:
        if self._layout is not None:
            layout, self._layout = self._layout, None
            self.im = Image.frombytes(layout.mode, self.size, layout.pixels().tobytes()).im
        return Image.Image.load(self)


class _Layout:
    """The first page's tags, and its pixels by them."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._endian = "<" if data[:2] == b"II" else ">"
        self.is_big = data[2:4] in {b"+\0", b"\0+"}
        self.tags = self._read_tags()
        self.width, self.height = self.one(_WIDTH, 0), self.one(_HEIGHT, 0)
        self.photometric, self._samples = self.one(_PHOTOMETRIC, -1), self.one(_SAMPLES)
        self._bits = self.one(_BITS)
        self._planes = self._samples if self.one(_PLANAR) == 2 else 1
        self._side_by_side = self._samples // max(1, self._planes)
        self._row_bytes = -(-self.width * self._side_by_side * self._bits // 8)

    def one(self, tag: int, default: int | None = None) -> int:
        values = self.tags.get(tag) or (_DEFAULTS[tag] if default is None else default,)
        return values[0]

    def _read_tags(self) -> dict[int, tuple[int, ...]]:
        """Those that are needed, each once; struct.error where the file ends before."""
        data, endian = self._data, self._endian
        word, entry, size = ("Q", "HHQ", 20) if self.is_big else ("I", "HHI", 12)
        (start,) = struct.unpack_from(endian + word, data, 8 if self.is_big else 4)
        (count,) = struct.unpack_from(endian + ("Q" if self.is_big else "H"), data, start)
        start += 8 if self.is_big else 2
        tags: dict[int, tuple[int, ...]] = {}
        for place in range(start, start + size * min(count, 4096), size):
            tag, kind, number = struct.unpack_from(endian + entry, data, place)
            if tag not in _READ - tags.keys() or kind not in _TYPES or number > len(data):
                continue
            form = f"{endian}{number}{_TYPES[kind]}"
            place += size - struct.calcsize(word)
            if struct.calcsize(form) > struct.calcsize(word):
                (place,) = struct.unpack_from(endian + word, data, place)
            tags[tag] = struct.unpack_from(form, data, place)
        return tags

    @property
    def is_ordinary(self) -> bool:
        """Whether Pillow's reader shows it right, or says rightly that it is no picture."""
        if self.one(_SAMPLE_FORMAT, 1) != 1 and self.photometric not in {_CIELAB, _ICCLAB}:
            return True
        if self.is_big and self._endian == ">":
            return False
        if self.one(_COMPRESSION) not in _COMPRESSIONS or self._bits > 16 or self.photometric not in _MODES:
            return True
        usual_bits = self._bits in {1, 2, 4, 8, 16}
        odd_grey = self.photometric == _WHITE_IS_ZERO and self._bits == 16
        odd_lab = self.photometric == _ICCLAB or (self.photometric == _CIELAB and self._bits != 8)
        return usual_bits and self._planes == 1 and not odd_grey and not odd_lab

    def check(self) -> None:
        """Raise an `ImageError` that says what of the layout is beyond this reader."""
        base = len(_MODES.get(self.photometric, ""))
        unfit = {
            "colours": self.photometric not in _MODES,
            "compression": self.one(_COMPRESSION) not in _COMPRESSIONS,
            "bits per sample": len(set(self.tags.get(_BITS, (1,)))) > 1 or not 1 <= self._bits <= 16,
            "samples per pixel": not base <= self._samples <= _MAX_SAMPLES,
            "predictor": self.one(_PREDICTOR) != 1 and not (self.one(_PREDICTOR) == 2 and self._bits in {8, 16}),
        }
        if wrong := [what for what, is_unfit in unfit.items() if is_unfit]:
            raise ImageError(f"a TIFF whose {wrong[0]} can't be read", "save it as an RGB TIFF with 8 or 16 bits")
        if not 0 < self.width < 2**31 or not 0 < self.height < 2**31:
            raise SyntaxError("no size")

    @property
    def mode(self) -> str:
        """Pillow's mode of the pixels: with alpha where a sample behind the colours is one."""
        mode = _MODES[self.photometric]
        extra = self.one(_EXTRA, 0) if self._samples > len(mode) else 0
        if mode not in {"L", "RGB"} or extra not in {1, 2}:
            return mode
        return {"L": "LA", "RGB": "RGBa" if extra == 1 else "RGBA"}[mode]

    def pixels(self) -> NDArray[np.uint8]:
        """`(h, w, c)` as Pillow's mode stores them."""
        channels = len(self.mode)
        pixels = np.empty((self.height, self.width, channels), np.uint8)
        for plane in range(min(self._planes, channels)):
            top = 0
            for rows in self._rows(plane):
                found = self._to_8_bits(self._samples_of(rows), plane)
                part = slice(plane, plane + 1) if self._planes > 1 else slice(channels)
                pixels[top : top + len(rows), :, part] = found[..., : channels if self._planes == 1 else 1]
                top += len(rows)
        return pixels

    def _rows(self, plane: int) -> Iterator[NDArray[np.uint8]]:
        """The plane's packed rows `(n, bytes)`, unpacked a few strips or rows of tiles at a time."""
        tiled = _TILE_WIDTH in self.tags
        part_height = self.one(_TILE_HEIGHT, 0) if tiled else min(self.one(_ROWS_PER_STRIP, self.height), self.height)
        part_width = self.one(_TILE_WIDTH, 0) if tiled else self.width
        if part_height < 1 or part_width < 1:
            raise ValueError("strips or tiles without pixels")
        across, down = -(-self.width // part_width), -(-self.height // part_height)
        offsets, counts = (
            self.tags.get(tag, ())[plane * across * down :][: across * down]
            for tag in ((_TILE_OFFSETS, _TILE_COUNTS) if tiled else (_OFFSETS, _COUNTS))
        )
        if len(offsets) != across * down or len(counts) != across * down:
            raise ValueError("strips or tiles are missing")
        at_once = max(1, _BLOCK // (self._row_bytes * part_height))
        for first in range(0, down, at_once):
            some = slice(first * across, min(first + at_once, down) * across)
            height = min(self.height - first * part_height, at_once * part_height)
            parts = [
                self._data[offset : offset + count] for offset, count in zip(offsets[some], counts[some], strict=True)
            ]
            rows = self._unpacked(parts, height, part_height, part_width if tiled else None)
            if self.one(_PREDICTOR) == 2:
                rows = self._undone(rows, part_width)
            block = max(1, _BLOCK // self._row_bytes)
            yield from (rows[top : top + block] for top in range(0, height, block))

    def _unpacked(self, parts: list[bytes], height: int, part_height: int, tile_width: int | None) -> NDArray[np.uint8]:
        """Strips or tiles as rows, by a TIFF of theirs that says each byte is a grey pixel."""
        if self.one(_COMPRESSION) == 1 and self.one(_FILL_ORDER) == 1 and tile_width is None and len(parts) == 1:
            needed = height * self._row_bytes
            return np.frombuffer(parts[0], np.uint8, needed).reshape(height, self._row_bytes)
        starts = np.cumsum([8, *map(len, parts)])[:-1].tolist()
        tags: dict[int, list[int]] = {
            **{_WIDTH: [self._row_bytes], _HEIGHT: [height], _BITS: [8], _PHOTOMETRIC: [_BLACK_IS_ZERO], _SAMPLES: [1]},
            **{_COMPRESSION: [self.one(_COMPRESSION)], _FILL_ORDER: [self.one(_FILL_ORDER)]},
        }
        if tile_width is None:
            tags |= {_OFFSETS: starts, _COUNTS: list(map(len, parts)), _ROWS_PER_STRIP: [part_height]}
        else:
            width = tile_width * self._side_by_side * self._bits // 8
            tags |= {_TILE_OFFSETS: starts, _TILE_COUNTS: list(map(len, parts))}
            tags |= {_TILE_WIDTH: [width], _TILE_HEIGHT: [part_height]}
        file = io.BytesIO(_grey_tiff(b"".join(parts), tags))
        with Image.open(file, formats=("TIFF",)) as grey:
            return np.asarray(grey)

    def _undone(self, rows: NDArray[np.uint8], part_width: int) -> NDArray[np.uint8]:
        """The rows without the predictor, which stores each sample as its difference to the one on its left."""
        kind = np.dtype(np.uint8 if self._bits == 8 else f"{self._endian}u2")
        samples = np.array(rows).view(kind).reshape(len(rows), self.width, self._side_by_side)
        for left in range(0, self.width, part_width):
            part = samples[:, left : left + part_width]
            part[:] = np.cumsum(part, axis=1, dtype=np.uint16)
        return samples.reshape(len(rows), -1).view(np.uint8)

    def _samples_of(self, rows: NDArray[np.uint8]) -> Samples:
        """Packed rows as `(n, w, samples)`."""
        shape = len(rows), self.width, self._side_by_side
        if self._bits == 8:
            return rows.reshape(shape)
        if self._bits == 16:
            return np.ascontiguousarray(rows).view(f"{self._endian}u2").reshape(shape)
        number = self.width * self._side_by_side
        bits = np.unpackbits(rows, axis=1)[:, : number * self._bits].reshape(len(rows), number, self._bits)
        padded = np.zeros((len(rows), number, 16), np.uint8)
        padded[..., 16 - self._bits :] = bits
        return np.packbits(padded, axis=-1).view(">u2").reshape(shape)

    def _to_8_bits(self, samples: Samples, plane: int) -> NDArray[np.uint8]:
        highest = 2**self._bits - 1
        scaled = (samples.astype(np.uint32) * 255 + highest // 2) // highest
        if self.photometric == _WHITE_IS_ZERO:
            scaled = 255 - scaled
        elif self.photometric in {_CIELAB, _ICCLAB}:
            top = samples >> (self._bits - 8) if self._bits > 8 else samples
            if self.photometric == _ICCLAB:  # a and b from 0, where Pillow takes signed ones
                chroma = np.array([0, 128, 128][plane:][: samples.shape[-1]], np.uint8)
                scaled = top[..., : len(chroma)].astype(np.uint8) ^ chroma
            else:
                lightness = scaled[..., :1] if plane == 0 else top[..., :1]
                scaled = np.concatenate([lightness, top[..., 1:]], axis=-1)
        return scaled.astype(np.uint8)


def _grey_tiff(data: bytes, tags: dict[int, list[int]]) -> bytes:
    """A little-endian TIFF: `data` from byte 8 on, then its tags, all of them 32-bit numbers."""
    start = 8 + len(data)
    values_start, values, table = start + 2 + 12 * len(tags) + 4, b"", struct.pack("<H", len(tags))
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}I", *numbers)
        place = packed if len(numbers) == 1 else struct.pack("<I", values_start + len(values))
        values += b"" if len(numbers) == 1 else packed
        table += struct.pack("<HHI", tag, 4, len(numbers)) + place
    return b"II*\0" + struct.pack("<I", start) + data + table + bytes(4) + values


def _is_tiff(start: bytes) -> bool:
    return start[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}


Image.register_open(SCANNER_TIFF, ScannerTiff, _is_tiff)
