"""What a picture's colours mean, where its file says so otherwise than by an embedded profile: as profiles (ICC.1)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

# xy of white, red, green and blue, by the code points of ITU-T H.273, which PNG (cICP), AVIF and HEIC (nclx) use
_D65 = (0.3127, 0.3290)
PRIMARIES = {
    1: (*_D65, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06),  # sRGB, BT.709
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),  # PAL
    6: (*_D65, 0.63, 0.34, 0.31, 0.595, 0.155, 0.07),  # NTSC
    9: (*_D65, 0.708, 0.292, 0.17, 0.797, 0.131, 0.046),  # BT.2020
    11: (0.314, 0.351, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # DCI-P3
    12: (*_D65, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06),  # Display P3
}
# light of a stored value x: x^g, or with five numbers (a x + b)^g from d on and c x below
_SRGB = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
BT709_TRANSFERS = (1, 6, 14, 15)
TRANSFERS: dict[int, tuple[float, ...]] = {
    **dict.fromkeys(BT709_TRANSFERS, (2.4,)),  # BT.709 as a screen shows it, and as Chromium does
    4: (2.2,),
    5: (2.8,),
    8: (1.0,),
    13: _SRGB,
}
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}

_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def coded_profile(primaries: int, transfer: int, *, grey: bool) -> bytes | None:
    """The profile that two code points stand for; empty for sRGB, None for points that say nothing or are rare."""
    if primaries not in PRIMARIES or transfer not in TRANSFERS:
        return None
    return (
        b""
        if (primaries, transfer) == (1, 13)
        else profile(TRANSFERS[transfer], None if grey else PRIMARIES[primaries])
    )


def profile(curve: Sequence[float], primaries: Sequence[float] | None) -> bytes | None:
    """An ICC profile with that transfer curve, of coloured pictures, or of grey ones where `primaries` is None.

    None where no screen has such a curve or such primaries.
    """
    if min(curve) <= 0 or max(curve) > 1000:
        return None
    form = 0 if len(curve) == 1 else 3
    parameters = b"para\0\0\0\0" + struct.pack(">HH", form, 0) + _fixed(*curve)
    tags = {b"wtpt": _xyz(_D50)}
    if primaries is None:
        tags[b"kTRC"] = parameters
    else:
        columns = _columns(primaries)
        if columns is None:
            return None
        for letter, column in zip("rgb", columns.T, strict=True):
            tags[f"{letter}XYZ".encode()] = _xyz(column)
            tags[f"{letter}TRC".encode()] = parameters
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    space = b"GRAY" if primaries is None else b"RGB "
    head = struct.pack(">I4xI4s4s4s12x4s28x", start + len(body), 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    return (head + _fixed(*_D50)).ljust(128, b"\0") + table + body


def _columns(xy: Sequence[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    """XYZ of full red, green and blue as columns, for an eye used to D50 (Bradford)."""
    if min(xy[1::2]) <= 0:
        return None
    white, *colours = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in zip(xy[::2], xy[1::2], strict=True))
    mixed = np.stack(colours, 1)
    if abs(np.linalg.det(mixed)) < 1e-6:
        return None
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(_BRADFORD @ _D50 / (_BRADFORD @ white)) @ _BRADFORD
    return adapted @ (mixed * np.linalg.solve(mixed, white))


def _xyz(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _fixed(*values: float) -> bytes:
    """As s15Fixed16Number."""
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
