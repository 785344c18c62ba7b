"""One file to the stored size."""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantart.data import packing
from quantart.data.files import PictureFile
from quantart.data.packing import Geometry, Loaded, Rejected, load_picture, write_shard
from quantart.images.arrays import resize_short_side
from quantart.images.decode import decode_image
from quantart.params.data import DataParams

from .prepared import table

PHOTO = Path(__file__).parents[1] / "pictures" / "kingfisher.jpg"
SAMPLE = Path(__file__).parents[2] / "data" / "sample" / "photos"
GEOMETRY = Geometry(short_side=64, max_aspect=2.0, max_pixels=1_000_000)


def load(path: Path, geometry: Geometry = GEOMETRY) -> Loaded | Rejected:
    return load_picture(PictureFile(path.name, path), geometry)


def test_a_photograph_is_scaled_and_hashed():
    loaded = load(PHOTO)
    assert isinstance(loaded, Loaded)
    assert loaded.sha256 == hashlib.sha256(PHOTO.read_bytes()).hexdigest()
    assert loaded.picture.shape == (64, 96, 3)
    assert loaded.picture.dtype == np.uint8


def test_a_long_picture_is_cropped_to_the_aspect(tmp_path):
    Image.new("RGB", (2000, 100)).save(tmp_path / "long.png")
    loaded = load(tmp_path / "long.png")
    assert isinstance(loaded, Loaded)
    assert loaded.picture.shape == (64, 128, 3)


@pytest.mark.parametrize(("side", "usable"), [(1, False), (15, False), (16, True)])
def test_pictures_enlarged_beyond_use_are_set_aside(tmp_path, side, usable):
    Image.new("RGB", (side, 400)).save(tmp_path / "small.png")
    loaded = load(tmp_path / "small.png")
    assert isinstance(loaded, Loaded) is usable
    if isinstance(loaded, Rejected):
        assert loaded.reason.startswith(f"too small: {side} × 400 pixels; the short side must have at least 16")


def test_an_unreadable_file_gives_a_reason_and_raises_nothing(tmp_path):
    (tmp_path / "circle.jpg").symlink_to(tmp_path / "circle.jpg")
    (tmp_path / "cut.jpg").write_bytes(PHOTO.read_bytes()[:5000])
    reasons = {name: load(tmp_path / name) for name in ("circle.jpg", "cut.jpg", "none.jpg")}
    assert reasons["circle.jpg"] == Rejected("cannot be read: Too many levels of symbolic links")
    assert reasons["none.jpg"] == Rejected("cannot be read: No such file or directory")
    cut = reasons["cut.jpg"]
    assert isinstance(cut, Rejected)
    assert "truncated" in cut.reason


def test_odd_metadata_gives_no_warning(tmp_path):
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + b"\x07" * 30
    Image.open(PHOTO).save(tmp_path / "odd.jpg", exif=exif)
    script = "from quantart.images.decode import read_image; from pathlib import Path; import sys;"
    script += "print(read_image(Path(sys.argv[1]), max_pixels=10**6).shape)"
    command = [sys.executable, "-W", "default", "-c", script, str(tmp_path / "odd.jpg")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "Corrupt" not in done.stderr
    assert done.stdout


def test_a_squashed_picture_is_a_square_with_nothing_cut_off(tmp_path):
    halves = np.zeros((100, 900, 3), np.uint8)
    halves[:, 450:] = 255
    Image.fromarray(halves).save(tmp_path / "long.png")
    loaded = load(tmp_path / "long.png", Geometry(64, 2.0, 1_000_000, squash=True))
    assert isinstance(loaded, Loaded)
    assert loaded.picture.shape == (64, 64, 3)
    assert loaded.picture[:, :30].max() < 5  # the resampling rings a little at the edge
    assert loaded.picture[:, 34:].min() > 250


def test_a_part_of_a_file_is_a_picture(tmp_path):
    data = PHOTO.read_bytes()
    (tmp_path / "many").write_bytes(b"before" + data + b"after")
    loaded = load_picture(PictureFile("x", tmp_path / "many", 6, len(data)), GEOMETRY)
    assert isinstance(loaded, Loaded)
    assert loaded.sha256 == hashlib.sha256(data).hexdigest()


def test_a_known_fault_is_the_reason_and_nothing_is_opened(tmp_path):
    assert load_picture(PictureFile("x", tmp_path, fault="a link"), GEOMETRY) == Rejected("a link")


def test_a_large_jpeg_is_decoded_smaller_and_looks_the_same(tmp_path):
    with Image.open(PHOTO) as photo:
        photo.convert("RGB").resize((1152, 768), Image.Resampling.LANCZOS).save(tmp_path / "large.jpg", quality=90)
        photo.convert("RGB").resize((1152, 768), Image.Resampling.LANCZOS).save(tmp_path / "large.png")
    data = (tmp_path / "large.jpg").read_bytes()
    sizes = {side: decode_image(data, max_pixels=10**8, least_side=side).shape for side in (128, 384, 385, 1000)}
    assert sizes == {128: (192, 288, 3), 384: (384, 576, 3), 385: (768, 1152, 3), 1000: (768, 1152, 3)}
    pictures = [load(tmp_path / name) for name in ("large.jpg", "large.png")]
    assert all(isinstance(loaded, Loaded) for loaded in pictures)
    jpeg, whole = (loaded.picture.astype(float) for loaded in pictures if isinstance(loaded, Loaded))
    assert np.array_equal(jpeg, resize_short_side(decode_image(data, max_pixels=10**8, least_side=2 * 64), 64))
    assert 10 * np.log10(255**2 / np.mean((jpeg - whole) ** 2)) > 42  # dB; losses of the JPEG included


def test_decoding_smaller_changes_what_is_stored_as_little_as_the_documents_say():
    """docs/data.md has the figures of all sample pictures."""
    changed: list[float] = []
    for path in sorted(SAMPLE.glob("*.jpg"))[:24]:
        data = path.read_bytes()
        whole, smaller = (decode_image(data, max_pixels=10**8, least_side=side) for side in (None, 2 * 48))
        assert smaller.shape[0] < whole.shape[0]
        stored = [resize_short_side(picture, 48) for picture in (whole, smaller)]
        if stored[0].shape == stored[1].shape:
            changed.append(float(np.abs(stored[0].astype(int) - stored[1]).mean()))
    assert len(changed) > 15
    assert 0 < np.median(changed) < 1.5
    assert max(changed) < 4


def test_the_default_takes_the_pictures_of_todays_phones_and_its_limit_is_named(tmp_path):
    default = Geometry(64, 2.0, DataParams.model_fields["max_pixels"].default)
    for height, reason in (
        (12_240, "broken picture: "),
        (20_000, "too large: 16320 × 20000 pixels, .*data.max_pixels$"),
    ):
        begin = b"IHDR" + struct.pack(">IIBBBBB", 16_320, height, 8, 2, 0, 0, 0)  # of a picture that breaks off
        data = b"\x89PNG\r\n\x1a\n\0\0\0\x0d" + begin + struct.pack(">I", zlib.crc32(begin)) + b"\0\0\1\0IDATx"
        (tmp_path / "phone.png").write_bytes(data)
        loaded = load(tmp_path / "phone.png", default)
        assert isinstance(loaded, Rejected)
        assert re.match(reason, loaded.reason)


def test_a_shard_holds_its_pixels_in_few_batches_and_a_worker_no_more_than_one(tmp_path, monkeypatch):
    files = []
    for shade in range(7):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / f"{shade}.png")
        files.append(PictureFile(f"{shade}.png", tmp_path / f"{shade}.png"))
    files.insert(3, PictureFile("bad", tmp_path / "none"))
    for folder, most, sizes in (("one", 2**24, [8]), ("more", 2 * 8 * 8 * 3, [2, 3, 2, 1])):
        monkeypatch.setattr(packing, "AT_ONCE", most)
        (tmp_path / folder).mkdir()
        assert write_shard(0, files, Geometry(8, 2.0, 100), tmp_path / folder) == 8
        written = table(tmp_path / folder / "shard-00000.arrow")
        assert [len(batch) for batch in written.to_batches()] == sizes
        assert [pixels and pixels[0] for pixels in written["pixels"].to_pylist()] == [0, 1, 2, None, 3, 4, 5, 6]
