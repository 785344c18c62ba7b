"""Requests that no server should choke on, made of real pictures and sent to the real server process."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quantart.images.arrays import Picture
from quantart.images.decode import decode_image, read_image
from quantart.models.fidelity import FidelityControl
from quantart.registry.versions import RegisteredVersion
from quantart.stylize.stylizer import Stylizer

from .running import ask, post, running

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
PHOTO = read_image(SAMPLE / "photos" / "colosseum.jpg", max_pixels=10**8)[:64, :72]
PAINTING = read_image(SAMPLE / "paintings" / "gauguin_two_women.jpg", max_pixels=10**8)[:80, :64]
MAX_BYTES = 200_000


def encoded(picture: Picture | Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def animation(file_format: str) -> bytes:
    frames = [Image.fromarray(PHOTO), Image.fromarray(255 - PHOTO)]
    return encoded(frames[0], file_format, save_all=True, append_images=frames[1:], duration=100)


def png_of(width: int, height: int) -> bytes:
    """The head of a PNG that claims to be as large: decoding it would fail in another way than the size does."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 100) + b"IDAT"


def jpeg_of(side: int) -> bytes:
    """A real JPEG whose header was told another size."""
    data = encoded(PHOTO, "JPEG")
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", side, side) + data[place + 4 :]


def records(content: Any, style: Any) -> dict[str, Any]:
    return {"dataframe_records": [{"content": content, "style": style}]}


def split(content: Any, style: Any) -> dict[str, Any]:
    return {"dataframe_split": {"columns": ["content", "style"], "data": [[content, style]]}}


def inputs(content: Any, style: Any) -> dict[str, Any]:
    return {"inputs": {"content": [content], "style": [style]}}


def instances(content: Any, style: Any) -> dict[str, Any]:
    return {"instances": [{"content": content, "style": style}]}


C, S = text(encoded(PHOTO)), text(encoded(PAINTING, "JPEG", quality=95))
GOOD = {"content": C, "style": S}
PNG, JPEG, WEBP = (encoded(PHOTO, each) for each in ("PNG", "JPEG", "WEBP"))
FLOATS = encoded(Image.fromarray(PHOTO[..., 0].astype(np.float32)), "TIFF")
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"><rect width="9" height="9"/></svg>'
NOISE = encoded(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))
FIRST, STYLE = "row 0, column content: ", "row 0, column style: "
NOT_A_PICTURE = ".*JPEG, PNG"

CELLS: dict[str, tuple[Any, str]] = {
    "not base64": (inputs(C, "not base64!"), STYLE),
    "not base64 in records": (records("not base64!", S), FIRST + "not base64"),
    "a data: URI without base64": (records("data:image/svg+xml,%3Csvg/%3E", S), FIRST + "a data: URI"),
    "not ASCII": (split(C, "ümläut"), STYLE + "not base64"),
    "half a surrogate": (records(C, "\ud800"), ""),
    "empty": (records("", S), FIRST + "empty"),
    "empty text, undecoded": (instances(C, ""), STYLE + "empty"),
    "white space": (split(" \n", S), FIRST + "empty"),
    "text": (inputs(text(b"not a picture"), S), FIRST + NOT_A_PICTURE),
    "a file name": (instances("data/sample/photos/colosseum.jpg", S), FIRST),
    "SVG": (records(C, text(SVG)), STYLE + NOT_A_PICTURE),
    "PDF": (split(text(b"%PDF-1.7\n1 0 obj"), S), FIRST + NOT_A_PICTURE),
    "a pickle": (instances(C, text(b"\x80\x04\x95\x05\x00\x00\x00\x00\x00\x00\x00K\x01.")), STYLE + NOT_A_PICTURE),
    "truncated PNG": (records(text(PNG[: len(PNG) // 2]), S), FIRST),
    "truncated JPEG": (split(text(JPEG[: len(JPEG) // 2]), S), FIRST),
    "truncated WebP": (inputs(C, text(WEBP[: len(WEBP) // 2])), STYLE),
    "a header alone": (instances(C, text(PNG[:33])), STYLE),
    "damaged PNG": (inputs(text(PNG[:80] + bytes(20) + PNG[100:]), S), FIRST),
    "1 × 1": (records(text(encoded(PHOTO[:1, :1])), S), FIRST + "1 × 1 pixels"),
    "a line": (inputs(C, text(encoded(PHOTO[:1]))), STYLE + "72 × 1 pixels"),
    "too long": (split(text(encoded(np.resize(PHOTO, (16384, 32, 3)))), S), FIRST + "32 × 16384 pixels"),
    "painted too large": (
        instances(text(encoded(np.resize(PHOTO, (4096, 32, 3)))), S),
        FIRST + "32 × 4096 pixels.* max_size = 2048",
    ),
    "a bomb": (records(C, text(png_of(30_000, 30_000))), STYLE + ".*30000 × 30000 pixels"),
    "a bomb as a JPEG": (inputs(text(jpeg_of(60_000)), S), FIRST + ".*60000 × 60000 pixels"),
    "above the limit": (instances(text(png_of(10_000, 5_001)), S), FIRST + ".*10000 × 5001 pixels"),
    "too many bytes": (split(C, text(NOISE)), STYLE + f".*{len(NOISE)} bytes.* {MAX_BYTES} bytes"),
    "animated WebP": (records(text(animation("WEBP")), S), FIRST + "animated"),
    "animated PNG": (split(C, text(animation("PNG"))), STYLE + "animated"),
    "animated GIF": (inputs(text(animation("GIF")), S), FIRST + "animated"),
    "floating-point numbers": (instances(C, text(FLOATS)), STYLE),
    "null": (records(C, None), STYLE + ".*NoneType"),
    "null in inputs": (inputs(None, S), FIRST + ".*NoneType"),
    "a number": (split(7, S), FIRST + ".*int"),
    "true": (instances(C, True), STYLE + ".*bool"),
    "an object": (records({"file": C}, S), FIRST + ".*dict"),
    "a list": (instances(C, [S]), STYLE + ".*list"),
    "bad in row 1": ({"dataframe_records": [GOOD, GOOD | {"style": ""}]}, "row 1, column style: empty"),
}

REQUESTS: dict[str, tuple[Any, str]] = {
    "missing column": ({"dataframe_records": [{"content": C}]}, "style"),
    "missing column of inputs": ({"inputs": {"style": [S]}}, "content"),
    "a column in one row only": ({"instances": [GOOD, {"content": C}]}, ""),
    "other columns": ({"instances": [{"photo": C, "painting": S}]}, "content.*style"),
    "columns without names": ({"dataframe_split": {"data": [[C, S]]}}, ""),
    "a column twice": (
        {"dataframe_split": {"columns": ["content", "content", "style"], "data": [[C, C, S]]}},
        "",
    ),
    "a short row": ({"dataframe_split": {"columns": ["content", "style"], "data": [[C]]}}, ""),
    "columns of two lengths": ({"inputs": {"content": [C, C], "style": [S]}}, ""),
    "no row": ({"dataframe_split": {"columns": ["content", "style"], "data": []}}, "0 rows; .* 1 to 64"),
    "no row and no column": ({"instances": []}, ""),
    "1,000 rows": ({"dataframe_records": [GOOD] * 1000}, "1000 rows; .* 1 to 64"),
    "65 rows": ({"inputs": {"content": [C] * 65, "style": [S] * 65}}, "65 rows"),
    "no form": ({"pictures": [GOOD]}, ""),
    "two forms": (records(C, S) | inputs(C, S), ""),
    "a list of rows": ([GOOD], ""),
    "nothing": (None, ""),
    "records that are null": ({"dataframe_records": None}, ""),
}

PARAMS: dict[str, tuple[Any, str]] = {
    "alpha above 1": ({"alpha": 1.5}, "alpha = 1.5: "),
    "alpha below 0": ({"alpha": -0.1}, "alpha = -0.1: "),
    "alpha NaN": ({"alpha": float("nan")}, "alpha = nan: "),
    "alpha infinite": ({"alpha": float("inf")}, "alpha = inf: "),
    "alpha null": ({"alpha": None}, "alpha = null: "),
    "alpha text": ({"alpha": "0.5"}, "'alpha'"),
    "alpha a list": ({"alpha": [0.5]}, "'alpha'"),
    "alpha true": ({"alpha": True}, "'alpha'"),
    "beta above 1": ({"beta": 2}, "beta = 2.0: "),
    "beta below 0": ({"beta": -1e-9}, "beta = -1e-09: "),
    "beta NaN": ({"beta": float("nan")}, "beta = nan: "),
    "beta null": ({"beta": None}, "beta = null: "),
    "refine below 0": ({"refine": -1}, "refine = -1: .* 0 to 200"),
    "refine huge": ({"refine": 10**30}, f"refine = 1{'0' * 30}: .* 0 to 200"),
    "refine a fraction": ({"refine": 2.5}, "'refine'"),
    "refine NaN": ({"refine": float("nan")}, "'refine'"),
    "refine text": ({"refine": "many"}, "'refine'"),
    "size 0": ({"size": 0}, "size = 0: .* 32 to 2048"),
    "size below 0": ({"size": -64}, "size = -64: .* 32 to 2048"),
    "size too small": ({"size": 31}, "size = 31: .* 32 to 2048"),
    "size too large": ({"size": 2049}, "size = 2049: .* 32 to 2048"),
    "size huge": ({"size": 10**30}, f"size = 1{'0' * 30}: .* 32 to 2048"),
    "size a fraction": ({"size": 64.5}, "'size'"),
    "size NaN": ({"size": float("nan")}, "'size'"),
    "size text": ({"size": "64"}, "'size'"),
    "a list of parameters": ([0.5], ""),
}
EVERY_FORM = {form.__name__: form for form in (records, split, inputs, instances)}
TABLE = CELLS | REQUESTS
TABLE |= {
    f"{name}, {form}": (EVERY_FORM[form](C, S) | {"params": params}, said)
    for place, (name, (params, said)) in enumerate(PARAMS.items())
    for form in [list(EVERY_FORM)[place % len(EVERY_FORM)]]
}

BODIES = {
    "not JSON": (b'{"dataframe_records": [', "application/json", "JSON"),
    "an empty body": (b"", "application/json", "JSON"),
    "a picture as JSON": (PNG, "application/json", "JSON"),
    "not UTF-8": (b'{"inputs": "\xff"}', "application/json", "JSON"),
    "CSV without pictures": (b"content,style\na,b\n", "text/csv", "CSV"),
    "CSV of another encoding": (b"\xff\xfe", "text/csv", "UTF-8"),
}


@pytest.fixture(scope="module")
def server(registered: RegisteredVersion, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(registered.uri, tmp_path_factory.mktemp("server"), {"max_bytes": MAX_BYTES}) as address:
        yield address


@pytest.fixture(scope="module")
def expected(control: FidelityControl) -> Picture:
    return Stylizer(control).stylize(PHOTO, decode_image(base64.b64decode(S), max_pixels=10**6))


def painted(server: str, request: dict[str, Any]) -> Picture:
    status, answer = ask(server, request)
    assert status == 200, answer
    return decode_image(base64.b64decode(answer["predictions"][0]["image"]), max_pixels=10**6)


def check_refusal(status: int, answer: Any, said: str) -> None:
    """`said` are names and numbers in the message; empty where MLflow alone decides what to say."""
    assert status == 400, answer
    assert re.search(said, answer["message"]), answer["message"][-500:]
    assert "Traceback" not in json.dumps(answer)


def test_there_are_at_least_forty_bad_requests() -> None:
    assert len(TABLE) + len(BODIES) >= 40


@pytest.mark.parametrize("name", TABLE)
def test_a_bad_request_answers_400_and_the_next_good_one_is_right(name: str, server: str, expected: Picture) -> None:
    request, said = TABLE[name]
    check_refusal(*ask(server, request), said)
    assert np.array_equal(painted(server, records(C, S)), expected)


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_no_request_answers_400(name: str, server: str, expected: Picture) -> None:
    body, content_type, said = BODIES[name]
    status, answer = post(server, body, content_type)
    assert status == 400
    assert said in answer["message"]
    assert np.array_equal(painted(server, records(C, S)), expected)


# MLflow adds its own trace where it can't read CSV for columns of any type
TRACED = pytest.param("CSV without pictures", marks=pytest.mark.xfail(strict=True))


@pytest.mark.parametrize("name", [name if name != "CSV without pictures" else TRACED for name in BODIES])
def test_the_answer_to_a_body_that_is_no_request_holds_no_trace(name: str, server: str) -> None:
    body, content_type, _ = BODIES[name]
    assert "Traceback" not in json.dumps(post(server, body, content_type)[1])


def test_bad_requests_of_several_clients_at_once_leave_the_good_answers_right(server: str, expected: Picture) -> None:
    def client(number: int) -> None:
        """Of the bad requests every sixth, each followed by a good one."""
        for name in list(TABLE)[number::6]:
            request, said = TABLE[name]
            check_refusal(*ask(server, request), said)
            assert np.array_equal(painted(server, records(C, S)), expected), name

    with ThreadPoolExecutor(6) as clients:
        for done in [clients.submit(client, number) for number in range(6)]:
            done.result(timeout=300)


def test_pictures_of_unusual_kinds_are_painted_as_they_look(server: str, control: FidelityControl) -> None:
    deep = Image.fromarray(PHOTO[..., 0].astype(np.uint16) * 257)
    clear = np.dstack([PHOTO, np.full(PHOTO.shape[:2], 255, np.uint8)])
    turned = Image.Exif()
    turned[0x0112] = 6
    unusual = {
        "CMYK": encoded(Image.fromarray(PHOTO).convert("CMYK"), "JPEG", quality=95),
        "16 bits": encoded(deep),
        "alpha": encoded(Image.fromarray(clear)),
        "EXIF orientation": encoded(np.rot90(PHOTO).copy(), exif=turned),
        "palette": encoded(Image.fromarray(PHOTO).quantize(256)),
    }
    style = decode_image(base64.b64decode(S), max_pixels=10**6)
    for name, data in unusual.items():
        seen = decode_image(data, max_pixels=10**6)
        assert abs(seen.astype(int) - (PHOTO[..., :1] if name == "16 bits" else PHOTO)).mean() < 6, name
        assert np.array_equal(painted(server, records(text(data), S)), Stylizer(control).stylize(seen, style)), name


def test_what_mlflow_ignores_changes_nothing(server: str, expected: Picture) -> None:
    """MLflow takes columns and parameters that the signature does not name away before the model sees them."""
    assert np.array_equal(painted(server, {"dataframe_records": [GOOD | {"title": "colosseum"}]}), expected)
    assert np.array_equal(painted(server, records(C, S) | {"params": {"gamma": 1}}), expected)
