"""Rows of a request to pictures: everything that a client may send is checked here."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import pandas as pd

from quantart.errors import UserError
from quantart.images import ImageError, Picture, decode_image

COLUMNS = ("content", "style")
PARAMS = ("alpha", "beta")
MAX_ROWS = 64
MAX_PIXELS = 50_000_000


class RequestError(UserError):
    """A request that can't be answered; the message names row (from 0) and column."""


def read_rows(frame: pd.DataFrame) -> list[tuple[Picture, Picture]]:
    """The pictures `(content, style)` of each row, uint8 `(h, w, 3)`.

    A cell holds the bytes of a picture file, or their base64 text: MLflow decodes base64 in two of its four request
    forms and hands over the text in the others.

    Raises:
        RequestError: too many rows, none, or a cell that is not a picture.
    """
    if not 1 <= len(frame) <= MAX_ROWS:
        raise RequestError(f"{len(frame)} rows; a request holds 1 to {MAX_ROWS}")
    rows = zip(*(frame[column] for column in COLUMNS), strict=True)
    return [(_picture(c, row, "content"), _picture(s, row, "style")) for row, (c, s) in enumerate(rows)]


def read_params(params: Mapping[str, Any] | None) -> dict[str, float]:
    """Those of alpha and beta that a request gives; what they may be is the networks' to say.

    MLflow fills in absent ones and refuses what is no number, but lets null through.

    Raises:
        RequestError: one is null.
    """
    given = {name: params[name] for name in PARAMS if name in params} if params else {}
    for name, value in given.items():
        if value is None:
            raise RequestError(f"params: {name} = null: must be a number from 0 to 1; leave it out for its default")
    return given


def _picture(cell: Any, row: int, column: str) -> Picture:
    try:
        return decode_image(_file_bytes(cell), max_pixels=MAX_PIXELS)
    except ImageError as error:
        raise RequestError(f"row {row}, column {column}: {error}") from error


def _file_bytes(cell: Any) -> bytes:
    if not isinstance(cell, str | bytes | bytearray):
        raise ImageError(f"expected a picture file as bytes or base64 text, got {type(cell).__name__}")
    if not cell:
        raise ImageError("empty, or not base64")  # MLflow decodes some bad base64 to nothing
    data = cell.encode("ascii", "replace") if isinstance(cell, str) else bytes(cell)
    try:
        # text may come as bytes too; a picture file is never made of base64's characters alone
        return base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        if isinstance(cell, str):
            raise ImageError("not base64 text") from None
        return data
