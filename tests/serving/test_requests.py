import base64
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantart.images import Picture, encode_png
from quantart.serving.requests import MAX_ROWS, RequestError, read_rows


def frame(*rows: tuple[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["content", "style"], dtype=object)


def test_bytes_and_base64_text_are_the_same_picture(noise: Picture) -> None:
    data = encode_png(noise)
    text = base64.b64encode(data)
    with_line_breaks = base64.encodebytes(data).decode()
    for content, style in read_rows(frame((data, text.decode()), (bytearray(data), with_line_breaks), (text, data))):
        assert np.array_equal(content, noise)
        assert np.array_equal(style, noise)


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (b"", "empty, or not base64"),
        ("", "empty, or not base64"),
        ("not base64!", "not base64 text"),
        ("ümläut \ud800", "not base64 text"),
        ("bm90IGEgcGljdHVyZQ==", "not a .* picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not a .* picture"),
        (None, "expected a picture file as bytes or base64 text, got NoneType"),
        (float("nan"), "expected .* got float"),
        (7, "expected .* got int"),
    ],
)
def test_what_is_no_picture_is_named_by_row_and_column(cell: Any, message: str, noise: Picture) -> None:
    data = encode_png(noise)
    with pytest.raises(RequestError, match=f"row 1, column style: {message}"):
        read_rows(frame((data, data), (data, cell)))


def test_a_truncated_picture_is_named(noise: Picture) -> None:
    data = encode_png(noise)
    with pytest.raises(RequestError, match="row 0, column content: broken picture"):
        read_rows(frame((data[: len(data) // 2], data)))


@pytest.mark.parametrize("count", [0, MAX_ROWS + 1])
def test_too_many_rows_and_none_are_refused(count: int, noise: Picture) -> None:
    data = encode_png(noise)
    with pytest.raises(RequestError, match=f"{count} rows; a request holds 1 to {MAX_ROWS}"):
        read_rows(frame(*[(data, data)] * count))
