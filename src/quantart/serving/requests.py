"""What the served model accepts: its limits, and rows, pictures and parameters of a request checked against them."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote_to_bytes

import pandas as pd

from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.images.decode import ImageError, TooLargeError, decode_image, stored_size
from quantart.stylize.painter import STYLE_CACHE
from quantart.stylize.sizes import MIN_SIDE, check_sides, check_steps, painted_size

COLUMNS = ("content", "style")
SEND = "send a picture file's bytes, their base64 (standard or url-safe), or a data: URI"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Limits:
    """The model's configuration (`model_config` of MLflow): integers of at least 1, with safe defaults."""

    max_rows: int = 64  # pictures in one request
    max_bytes: int = 32_000_000  # of one picture file, before base64
    max_pixels: int = 50_000_000  # of one picture sent; larger ones are refused from their header, undecoded
    max_size: int = 2048  # pixels of a painted picture's long side, whether a request asks for a size or not
    max_sent: int = 200_000_000  # pixels of all pictures sent in a request; more are refused from the headers
    max_painted: int = 2**24  # pixels painted in one request: 64 pictures of 512², 16 of 1024², 4 of 2048²
    max_seconds: int = 300  # from when the model gets a request to when it starts the last picture; no later start
    max_refine: int = 200  # steps of refining a picture; what is left of max_seconds is shared among the rows
    at_once: int = 1  # pictures painted at the same time; each uses all threads of torch, and memory of its own
    style_cache: int = STYLE_CACHE  # bytes for the latents of style pictures, for the next request with the same one

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} = {value!r}: must be an integer of at least 1")

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> Limits:
        """The limits that `config` names, and the defaults of the others."""
        known = asdict(cls())
        if unknown := [name for name in config or {} if name not in known]:
            raise UserError(f"{unknown[0]}: there is no such limit", f"there are {', '.join(known)}")
        return cls(**config or {})


def parse_limits(texts: list[str]) -> dict[str, int]:
    """`["max_rows=8"]` as `{"max_rows": 8}`, checked."""
    values: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = int(value)
        except ValueError:
            raise UserError(f"--limit {text}: must be NAME=NUMBER, such as max_rows=8") from None
    Limits.of(values)
    return values


class RequestError(UserError):
    """A request that can't be answered; the fault names row (from 0) and column, or the parameter."""


@dataclass(frozen=True)
class Row:
    """One row, its pictures not yet decoded."""

    number: int  # from 0
    content: Any
    style: Any
    height: int  # to paint, in pixels, by the file's header: decoding may turn the picture
    width: int

    def decode(self, limits: Limits) -> list[Picture]:
        """Content and style, uint8 `(h, w, 3)`; a `RequestError` says which one is broken behind its header."""
        pictures: list[Picture] = []
        for column, cell in zip(COLUMNS, (self.content, self.style), strict=True):
            with _named(self.number, column):
                data = _file_bytes(cell, limits.max_bytes)
                pictures.append(decode_image(data, max_pixels=limits.max_pixels, still=True))
        return pictures


def read_rows(frame: pd.DataFrame, size: int | None, limits: Limits, *, refined: bool = False) -> list[Row]:
    """The rows of a request, all checked by their pictures' headers; none is decoded.

    A cell holds the bytes of a picture file, their base64 text, or a data: URI.

    Args:
        size: pixels of the long side asked for, see `painted_size`.
        refined: whether the pictures are refined, which takes other sizes.

    Raises:
        RequestError: no row, too many rows, too many pixels in all, or a cell that is not one picture within the limits
            that can be painted at that size.
    """
    columns = _columns(frame)
    if not 1 <= (count := len(columns[0])) <= limits.max_rows:
        raise RequestError(f"{count} rows", f"a request holds 1 to {limits.max_rows}")
    rows: list[Row] = []
    sent = painted = 0
    for number, (content, style) in enumerate(zip(*columns, strict=True)):
        with _named(number, "content"):
            content_sides = sent_size(content, limits)
            height, width = painted_size(*content_sides, size, limits.max_size, refined=refined)
        with _named(number, "style"):
            style_sides = sent_size(style, limits)
            check_sides(*style_sides)
        sent += math.prod(content_sides) + math.prod(style_sides)
        painted += height * width
        if sent > limits.max_sent:
            fault = f"row {number}: {sent} pixels sent up to here"
            raise RequestError(fault, f"a request holds at most {limits.max_sent}")
        if painted > limits.max_painted:
            fault = f"row {number}: {painted} pixels to paint up to here"
            raise RequestError(fault, f"a request may have at most {limits.max_painted}: send fewer rows, or a size")
        rows.append(Row(number, content, style, height, width))
    return rows


def _columns(frame: pd.DataFrame) -> list[list[Any]]:
    """The cells of each of `COLUMNS`; of the request form `inputs` MLflow makes one row, its cells the columns."""
    columns = [list(frame[column]) for column in COLUMNS]
    if len(frame) == 1 and all(isinstance(column[0], list) for column in columns):
        columns = [column[0] for column in columns]
    if len({len(column) for column in columns}) > 1:
        raise RequestError("the columns differ in length", f"a row has a picture in each of {', '.join(COLUMNS)}")
    return columns


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
        fault = f"params: size = {size!r}: must be a whole number of pixels from {MIN_SIDE} to {limits.max_size}"
        raise RequestError(fault, "leave it out for the content picture's own")
    return size


def read_refine(params: Mapping[str, Any], limits: Limits) -> int:
    """Steps of refining asked for."""
    try:
        steps = check_steps(params.get("refine", 0), limits.max_refine)
        if steps and not find_spec("torch"):
            raise UserError(f"refine = {steps}: needs torch and torchvision, which are not installed where this runs")
    except UserError as error:
        raise RequestError(f"params: {error.fault}", "leave it out for the network's own answer") from None
    return steps


def sent_size(cell: Any, limits: Limits) -> tuple[int, int]:
    """Height and width of a picture within the limits, by its file's header; an `ImageError` says what is wrong."""
    return stored_size(_file_bytes(cell, limits.max_bytes), max_pixels=limits.max_pixels, still=True)


@contextmanager
def _named(row: int, column: str) -> Iterator[None]:
    try:
        yield
    except ImageError as error:
        further = ", or raise the served model's max_pixels" if isinstance(error, TooLargeError) else ""
        raise RequestError(f"row {row}, column {column}: {error.fault}", f"{error.remedy}{further}") from error


def _file_bytes(cell: Any, max_bytes: int) -> bytes:
    if not isinstance(cell, str | bytes | bytearray):
        raise ImageError(f"expected a picture file as bytes or base64 text, got {type(cell).__name__}", SEND)
    data = cell.encode("ascii", "replace") if isinstance(cell, str) else bytes(cell)
    text = b"".join(data.split())
    if text[:5].lower() == b"data:":
        head, _, text = text.partition(b",")
        if not head.lower().endswith(b";base64"):
            raise ImageError("a data: URI that is not base64", SEND)
        text = unquote_to_bytes(text)
    if not text:
        raise ImageError("empty", SEND)
    try:
        # base64 may come as bytes too; no picture file consists of base64's characters alone
        data = base64.b64decode(text.translate(_URL_SAFE) + b"=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        if isinstance(cell, str):
            raise ImageError("not base64 text", SEND) from None
    if len(data) > max_bytes:
        raise ImageError(f"a file of {len(data)} bytes", f"the limit is {max_bytes} bytes")
    return data
