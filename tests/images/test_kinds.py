"""Pictures are known by their bytes."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from quantart.images.decode import decode_image
from quantart.images.kinds import FORMATS, HEAD, is_picture_file, kind_of


def encoded(file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 60, 20)).save(buffer, file_format, **options)
    return buffer.getvalue()


KINDS = {file_format: encoded(file_format) for file_format in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_each_format_is_known_by_its_bytes_and_decoded(kind):
    data = KINDS[kind]
    assert kind_of(data[:HEAD]) == kind
    picture = decode_image(data, max_pixels=10_000)
    assert picture.shape == (48, 64, 3)
    assert abs(picture.astype(int) - (200, 60, 20)).max() < 25


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded("TIFF", big_tiff=True), "TIFF"),
        (b"MM\0*\0\0\0\x08", "TIFF"),
        (encoded("JPEG2000", no_jp2=True), "JPEG2000"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "HEIF"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif", "AVIF"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isomavc1", None),  # a film
        (b"\0\0\0\x18ftypcrx \0\0\0\0crx isom", None),  # a camera's raw file
        (b"II*\0\x10\0\0\0CR\x02\0", None),  # another one
        (b"BM is how this text begins, which is no bitmap", None),
        (b"RIFF\0\0\0\0WAVEfmt ", None),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"", None),
    ],
)
def test_relatives_are_told_apart(data, kind):
    assert kind_of(data[:HEAD]) == kind


@pytest.mark.parametrize("name", ["x", "x.jpg_large", "x.jfif", "x.part", "x.pdf"])
def test_a_picture_is_one_under_any_name(tmp_path: Path, name: str):
    (tmp_path / name).write_bytes(KINDS["JPEG"])
    assert is_picture_file(tmp_path / name)


def test_a_damaged_file_counts_by_its_name_and_a_raw_file_does_not(tmp_path: Path):
    for name, data in (("x.heic", b""), ("x.txt", b"II*\0"[:2]), ("x.nef", KINDS["TIFF"])):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")  # not waited for
    assert [path.name for path in sorted(tmp_path.iterdir()) if is_picture_file(path)] == ["x.heic"]
