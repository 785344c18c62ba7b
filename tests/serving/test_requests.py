import base64
from typing import Any

import numpy as np
import pandas as pd
import pytest

from quantart.images.arrays import Picture, encode_png
from quantart.serving.requests import Limits, RequestError, read_fidelity, read_refine, read_rows, read_size

LIMITS = Limits()


def frame(*rows: tuple[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["content", "style"], dtype=object)


def test_bytes_and_base64_text_are_the_same_picture(noise: Picture) -> None:
    data = encode_png(noise)
    text = base64.b64encode(data)
    with_line_breaks = base64.encodebytes(data).decode()
    uri = f"data:image/png;charset=utf-8;BASE64,{text.decode()}"
    url_safe = base64.urlsafe_b64encode(data).rstrip(b"=")
    cells = (
        (data, text.decode()),
        (bytearray(data), with_line_breaks),
        (text, data),
        (url_safe, url_safe.decode()),
        (uri, uri.encode()),
        (uri.replace("+", "%2B").replace("/", "%2F"), data),
    )
    assert {b"-", b"_"} <= {url_safe[place : place + 1] for place in range(len(url_safe))}
    for row in read_rows(frame(*cells), None, LIMITS):
        assert (row.height, row.width) == (48, 40)
        content, style = row.decode(LIMITS)
        assert np.array_equal(content, noise)
        assert np.array_equal(style, noise)


@pytest.mark.parametrize(
    ("cell", "part"),
    [
        (b"", "empty"),
        ("", "empty"),
        ("not base64!", "base64"),
        ("ümläut \ud800", "base64"),
        (" \n", "empty"),
        ("bm90IGEgcGljdHVyZQ==", "JPEG, PNG"),
        ("data:image/png,abc", "data:"),
        ("data:image/png;base64", "data:"),
        ("data:image/png;base64,", "empty"),
        ("https://example.org/a.png", "base64"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "JPEG, PNG"),
        (None, "NoneType"),
        (float("nan"), "float"),
        (7, "int"),
    ],
)
def test_what_is_no_picture_is_named_by_row_and_column(cell: Any, part: str, noise: Picture) -> None:
    data = encode_png(noise)
    with pytest.raises(RequestError, match=f"^row 1, column style: .*{part}"):
        read_rows(frame((data, data), (data, cell)), None, LIMITS)


def test_a_truncated_picture_is_named(noise: Picture) -> None:
    data = encode_png(noise)
    with pytest.raises(RequestError, match="^row 0, column content: "):
        read_rows(frame((data[: len(data) // 2], data)), None, LIMITS)[0].decode(LIMITS)


def test_a_row_of_columns_is_as_many_rows(noise: Picture) -> None:
    """So MLflow hands on the request form `inputs`."""
    data = base64.b64encode(encode_png(noise)).decode()
    assert len(read_rows(frame(([data] * 3, [data] * 3)), None, LIMITS)) == 3
    with pytest.raises(RequestError, match="length"):
        read_rows(frame(([data] * 3, [data] * 2)), None, LIMITS)
    with pytest.raises(RequestError, match="^row 0, column style: .*list"):
        read_rows(frame((data, [data])), None, LIMITS)


@pytest.mark.parametrize("count", [0, 3])
def test_too_many_rows_and_none_are_refused(count: int, noise: Picture) -> None:
    data = encode_png(noise)
    with pytest.raises(RequestError, match=f"^{count} rows; .*2"):
        read_rows(frame(*[(data, data)] * count), None, Limits(max_rows=2))


def test_a_picture_is_bounded_in_bytes_and_pixels(noise: Picture) -> None:
    data = encode_png(noise)
    for cell in (data, base64.b64encode(data).decode()):
        assert len(read_rows(frame((cell, cell)), None, Limits(max_bytes=len(data), max_pixels=48 * 40))) == 1
        with pytest.raises(RequestError, match=f"^row 0, column content: .*{len(data)} bytes"):
            read_rows(frame((cell, cell)), None, Limits(max_bytes=len(data) - 1))
        remedy = "scale it down, or raise the served model's max_pixels"
        with pytest.raises(RequestError, match=f"^row 0, column content: .*40 × 48 .* 1919 pixels; {remedy}$"):
            read_rows(frame((cell, cell)), None, Limits(max_pixels=48 * 40 - 1))


def test_every_row_is_seen_to_before_one_is_decoded(noise: Picture) -> None:
    header = encode_png(noise)[:60]  # of a picture that can't be decoded
    small, long = encode_png(noise[:31]), encode_png(np.resize(noise, (32, 400, 3)))
    assert len(read_rows(frame((header, header)), None, LIMITS)) == 1
    for cells, size, fault in [
        ((header, small), None, "row 1, column style: 40 × 31 pixels"),
        ((small, header), None, "row 1, column content: 40 × 31 pixels"),
        ((long, header), 64, "row 1, column content: 400 × 32 pixels, size = 64"),
    ]:
        with pytest.raises(RequestError) as refused:
            read_rows(frame((header, header), cells), size, LIMITS)
        assert refused.value.fault == fault


def test_many_pictures_that_compress_well_are_refused_from_their_headers(noise: Picture) -> None:
    flat, style = encode_png(np.zeros((3000, 3000, 3), np.uint8)), encode_png(noise)
    assert len(flat) < 100_000
    assert len(read_rows(frame(*[(flat, style)] * 4), 64, Limits(max_sent=4 * (9_000_000 + 48 * 40)))) == 4
    with pytest.raises(RequestError, match="^row 22: 207044160 .*200000000"):
        read_rows(frame(*[(flat, style)] * 64), 64, LIMITS)
    with pytest.raises(RequestError, match="^row 2: 3145728 .*3145727"):
        read_rows(frame(*[(flat, style)] * 3), None, Limits(max_painted=3_145_727))


def test_parameters_that_are_there_are_taken() -> None:
    assert read_fidelity({"alpha": 0.5, "beta": 0.0, "size": 64}) == {"alpha": 0.5, "beta": 0.0}
    assert read_fidelity({}) == {}
    with pytest.raises(RequestError, match="^params: beta = null: "):
        read_fidelity({"beta": None})


def test_a_size_is_a_whole_number_within_the_limits() -> None:
    limits = Limits(max_size=64)
    assert [read_size({"size": size}, limits) for size in (None, 32, 64)] == [None, 32, 64]
    assert read_size({}, limits) is None
    for size in (0, 31, 65, True, 48.0, "48"):
        with pytest.raises(RequestError, match=f"^params: size = {size!r}: .* 32 to 64"):
            read_size({"size": size}, limits)


def test_refining_has_its_limits() -> None:
    limits = Limits(max_refine=50)
    assert [read_refine({"refine": steps}, limits) for steps in (0, 1, 50)] == [0, 1, 50]
    assert read_refine({}, limits) == 0
    for steps in (-1, 51, True, 2.0, None):
        with pytest.raises(RequestError, match=f"^params: refine = {steps!r}: .* 0 to 50; leave it out"):
            read_refine({"refine": steps}, limits)


def test_a_refined_picture_has_at_least_64_pixels_each_side(noise: Picture) -> None:
    cells = frame((encode_png(noise), encode_png(noise)))
    (row,) = read_rows(cells, None, LIMITS, refined=True)
    assert (row.height, row.width) == (77, 64)
    with pytest.raises(RequestError, match="^row 0, column content: 40 × 48 pixels, size = 64; .* 77 to 1121"):
        read_rows(cells, 64, LIMITS, refined=True)
