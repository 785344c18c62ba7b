"""Rows of a request and their pictures: whatever a client may send is checked here."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.images.decode import ImageError, decode_image, stored_size
from quantart.serving.limits import Limits
from quantart.stylize.sizes import MIN_SIDE, check_sides, painted_size

COLUMNS = ("content", "style")


class RequestError(UserError):
    """A request that can't be answered; the fault names row (from 0) and column, or the parameter."""


@dataclass(frozen=True)
class Row:
    """One row, its pictures not yet decoded.

    Attributes:
        number: from 0.
        sent: pixels of both pictures.
        height, width: pixels to paint, by the file's header: decoding may turn the picture.
    """

    number: int
    content: Any
    style: Any
    sent: int
    height: int
    width: int

    def decode(self, limits: Limits) -> tuple[Picture, Picture]:
        """Content and style, uint8 `(h, w, 3)`; a `RequestError` says which one is broken behind its header."""

        def decoded(cell: Any, column: str) -> Picture:
            with _named(self.number, column):
                return decode_image(_file_bytes(cell, limits.max_bytes), max_pixels=limits.max_pixels, still=True)

        return decoded(self.content, "content"), decoded(self.style, "style")


def read_rows(frame: pd.DataFrame, size: int | None, limits: Limits) -> list[Row]:
    """The rows of a request, all checked by their pictures' headers; none is decoded.

    A cell holds the bytes of a picture file, or their base64 text: MLflow decodes base64 in two of its four request
    forms and passes the text on in the others.

    Args:
        size: pixels of the long side asked for, see `painted_size`.

    Raises:
        RequestError: no row, too many rows, too many pixels in all, or a cell that is not one picture within the limits
            that can be painted at that size.
    """
    if not 1 <= len(frame) <= limits.max_rows:
        raise RequestError(f"{len(frame)} rows", f"a request holds 1 to {limits.max_rows}")
    rows: list[Row] = []
    sent = painted = 0
    for number, (content, style) in enumerate(zip(*(frame[column] for column in COLUMNS), strict=True)):
        row = _row(number, content, style, size, limits)
        sent, painted = sent + row.sent, painted + row.height * row.width
        if sent > limits.max_sent:
            raise RequestError(
                f"row {number}: {sent} pixels sent up to here", f"a request holds at most {limits.max_sent}"
            )
        if painted > limits.max_painted:
            raise RequestError(
                f"row {number}: {painted} pixels to paint up to here",
                f"a request may have at most {limits.max_painted}: send fewer rows, or a size",
            )
        rows.append(row)
    return rows


def read_fidelity(params: Mapping[str, Any]) -> dict[str, float]:
    """Those of alpha and beta that a request gives; the networks check their values.

    MLflow fills in absent ones and refuses what is no number, but lets null through.
    """
    given = {name: params[name] for name in ("alpha", "beta") if name in params}
    for name, value in given.items():
        if value is None:
            raise RequestError(f"params: {name} = null: must be a number from 0 to 1", "leave it out for its default")
    return given


def read_size(params: Mapping[str, Any], limits: Limits) -> int | None:
    """Pixels of the long side of the pictures asked for; None: each content picture's own."""
    size = params.get("size")
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not MIN_SIDE <= size <= limits.max_size:
        raise RequestError(
            f"params: size = {size!r}: must be a whole number of pixels from {MIN_SIDE} to {limits.max_size}",
            "leave it out for the content picture's own",
        )
    return size


def _row(number: int, content: Any, style: Any, size: int | None, limits: Limits) -> Row:
    with _named(number, "content"):
        content_sides = _stored_size(content, limits)
        height, width = painted_size(*content_sides, size, limits.max_size)
    with _named(number, "style"):
        style_sides = _stored_size(style, limits)
        check_sides(*style_sides)
    return Row(number, content, style, math.prod(content_sides) + math.prod(style_sides), height, width)


def _stored_size(cell: Any, limits: Limits) -> tuple[int, int]:
    return stored_size(_file_bytes(cell, limits.max_bytes), max_pixels=limits.max_pixels, still=True)


@contextmanager
def _named(row: int, column: str) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        raise RequestError(f"row {row}, column {column}: {error.fault}", error.remedy) from error


def _file_bytes(cell: Any, max_bytes: int) -> bytes:
    if not isinstance(cell, str | bytes | bytearray):
        raise ImageError(f"expected a picture file as bytes or base64 text, got {type(cell).__name__}")
    if not cell:
        raise ImageError("empty, or not base64")  # MLflow decodes some bad base64 to nothing
    data = cell.encode("ascii", "replace") if isinstance(cell, str) else bytes(cell)
    try:
        # base64 may come as bytes too; no picture file consists of base64's characters alone
        data = base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        if isinstance(cell, str):
            raise ImageError("not base64 text") from None
    if len(data) > max_bytes:
        raise ImageError(f"a file of {len(data)} bytes", f"the limit is {max_bytes} bytes")
    return data
