"""The parts of a PNG: what its pixels need goes on to the decoder, what says how its colours look is read here.

Remarks (text, XMP) are left out, whatever their size: Pillow would unpack them, within limits of its own.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Mapping

from quantart.images.profiles import PRIMARIES, profile

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_NEEDED = {b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}  # besides those whose first letter is a capital
_COLOUR = {b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM"}
_MAX_PROFILE = 16 * 2**20  # bytes; the largest of printers have a few million


def parts(data: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """A PNG without remarks, and those of its chunks that say how its colours look."""
    kept: list[bytes | memoryview] = [_SIGNATURE]
    colour: dict[bytes, bytes] = {}
    for kind, whole in _chunks(memoryview(data)):
        if kind in _COLOUR:
            colour.setdefault(kind, bytes(whole[8:-4]))
        elif kind in _NEEDED or not kind[0] & 0x20:
            kept.append(whole)
    return b"".join(kept), colour


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Kind and bytes of each chunk; without optional ones whose checksum is wrong. What is cut off comes last."""
    place = len(_SIGNATURE)
    while place < len(data):
        kind = bytes(data[place + 4 : place + 8])
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        whole = data[place:end]
        if len(kind) < 4 or end > len(data):
            yield b"TAIL", whole
            return
        optional = kind[0] & 0x20 and kind != b"fdAT"
        if not optional or zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big"):
            yield kind, whole
        place = end


def colour_profile(chunks: Mapping[bytes, bytes]) -> bytes | None:
    """The profile in a PNG's iCCP; None where there is none, or it can't be unpacked."""
    return _unpacked(chunks[b"iCCP"]) if b"iCCP" in chunks else None


def gamma_profile(chunks: Mapping[bytes, bytes], *, grey: bool) -> bytes | None:
    """The profile that gAMA and cHRM stand for; None for sRGB.

    As in Chromium: sRGB outranks gAMA, gAMA alone means sRGB's primaries, cHRM alone says nothing, and an impossible
    cHRM takes gAMA with it.
    """
    if b"sRGB" in chunks or len(chunks.get(b"gAMA", b"")) != 4:
        return None
    gamma, xy = int.from_bytes(chunks[b"gAMA"], "big") / 100_000, PRIMARIES[1]
    if len(chunks.get(b"cHRM", b"")) == 32:
        xy = tuple(value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"]))
    elif abs(gamma - 1 / 2.2) < 1e-3:  # what is written for sRGB
        return None
    coloured = profile((1 / gamma,), xy) if gamma else None
    return profile((1 / gamma,), None) if coloured and grey else coloured


def _unpacked(iccp: bytes) -> bytes | None:
    """The profile in an iCCP chunk; None where it is broken or unreasonably large."""
    _, _, packed = iccp.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(packed[1:], _MAX_PROFILE)
    except zlib.error:
        return None
    return found if unpacker.eof else None
