"""The index of a prepared folder, and its shards as files."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from quantart.data import index
from quantart.data.arrow_files import SHARD, SHARD_FILE
from quantart.data.index import SHARD_SCHEMA, read_files, read_index, write_index
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.vocabulary.names import SPLITS, Split

NAMES = ['a,"b"\r\n\n\t🐼\rc.jpg', "bad", "é\ré.jpg"]
HASHES = [b"\0" * 32, None, b"\xff" * 31 + b"\0"]  # a digest may begin and end with zeros


def shard(folder: Path, number: int, rows: list[dict[str, object]]) -> None:
    batch = pa.RecordBatch.from_pylist(rows, SHARD_SCHEMA)
    with pa.ipc.new_file(str(folder / SHARD_FILE.format(number)), SHARD_SCHEMA) as writer:
        writer.write_batch(batch)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files: a picture of 2 × 3 pixels for training, a bad one, and one of 1 × 1 for the test."""
    shapes = [(2, 3), (None, None), (1, 1)]
    pixels = [bytes(range(18)), None, b"abc"]
    columns = zip(NAMES, HASHES, shapes, pixels, [None, "why", None], strict=True)
    keys = ("file", "sha256", "height", "width", "pixels", "rejected")
    shard(tmp_path, 0, [dict(zip(keys, (n, s, *hw, p, r), strict=True)) for n, s, hw, p, r in columns])
    write_index(tmp_path, read_files(tmp_path, 3), {"train": [0], "test": [2]})
    return tmp_path


def test_each_split_has_its_rows_and_pixels_as_they_were_written(folder):
    train, val, test = (PackedPictures(folder, split) for split in SPLITS)
    assert [list(each.files) for each in (train, val, test)] == [NAMES[:1], [], NAMES[2:]]
    assert [list(each.sha256) for each in (train, val, test)] == [["00" * 32], [], ["ff" * 31 + "00"]]
    assert [each.short_side for each in (train, val, test)] == [2, 0, 1]
    assert train.picture(0).tolist() == np.arange(18).reshape(2, 3, 3).tolist()
    assert test.picture(0).tobytes() == b"abc"


def test_the_digest_is_of_each_picture_s_hash_and_size(folder):
    assert read_index(folder, "train").digest == hashlib.sha256(f"{'00' * 32} 2 3\n".encode()).hexdigest()
    assert read_index(folder, "val").digest == hashlib.sha256(b"").hexdigest()


@pytest.mark.parametrize("change", [-1, 1])
def test_a_shard_of_another_size_is_refused(folder, change):
    path = folder / "shard-00000.arrow"
    size = path.stat().st_size
    path.write_bytes((path.read_bytes() + b"x")[: size + change])
    with pytest.raises(UserError, match=rf"shard-00000.arrow: .*{size + change} .*{size}; .*quantart prepare"):
        PackedPictures(folder, "train")


def test_a_missing_shard_is_refused(folder):
    (folder / "shard-00000.arrow").unlink()
    with pytest.raises(UserError, match=r"shard-00000.arrow: .*0 bytes"):
        PackedPictures(folder, "train")


def test_a_damaged_or_another_index_is_refused(folder):
    path = folder / "index.arrow"
    whole = path.read_bytes()
    for data in (b"", b"file,sha256\n", whole[:-20], whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"index\.arrow: damaged; .*quantart prepare"):
            PackedPictures(folder, "train")
    path.write_bytes((folder / "shard-00000.arrow").read_bytes())
    with pytest.raises(UserError, match=r"index\.arrow: no index of prepared pictures; .*quantart prepare"):
        PackedPictures(folder, "train")


def test_a_folder_of_an_older_quantart_is_to_be_prepared_again(tmp_path):
    (tmp_path / "index.csv").write_text("file,sha256,split,height,width,offset\n")
    (tmp_path / "pictures.bin").write_bytes(b"")
    with pytest.raises(UserError, match="prepared by an older QuantArt; run `quantart prepare` again"):
        PackedPictures(tmp_path, "train")


def test_pictures_are_found_in_whichever_shard_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "SHARD", 2)
    for number in range(3):
        files = range(2 * number, min(2 * number + 2, 5))
        common = {"height": 1, "width": 1}
        shard(
            tmp_path,
            number,
            [{"file": f"{i}", "sha256": bytes([i] * 32), "pixels": bytes([i] * 3), **common} for i in files],
        )
    places: dict[Split, list[int]] = {"train": [4, 1, 2], "test": [0, 3]}
    write_index(tmp_path, read_files(tmp_path, 5), places)
    for split, own in places.items():
        pictures = PackedPictures(tmp_path, split)
        assert [int(pictures.picture(i)[0, 0, 0]) for i in range(len(pictures))] == own
        assert list(pictures.files) == [str(place) for place in own]


MEASURE = """
import re, sys, time
from pathlib import Path
import torch  # what every process has that opens pictures
from quantart.data.pictures import PackedPictures

def own():
    return int(re.search(r"RssAnon:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

before, began = own(), time.perf_counter()
pictures = PackedPictures(Path(sys.argv[1]), "train")
took = time.perf_counter() - began
assert pictures.files[len(pictures) - 1] and pictures.sha256[0] and len(pictures) == 1_000_000
print(took, (own() - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_million_pictures_open_within_a_second_and_50_megabytes(tmp_path):
    count = 1_000_000
    digits = np.arange(count, dtype=np.int64).repeat(4).tobytes()
    side = pa.array(np.full(count, 64, np.int32))
    names = pa.array([f"folder/of/pictures/{i:07}.jpg" for i in range(count)], pa.large_string())
    hashes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), count, [None, pa.py_buffer(digits)])
    files = pa.table([names, hashes, side, side], names=["file", "sha256", "height", "width"])
    for number in range(-(-count // SHARD)):
        (tmp_path / SHARD_FILE.format(number)).touch()
    write_index(tmp_path, files, {"train": np.arange(count)})
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    seconds, megabytes = map(float, done.stdout.split())
    assert seconds < 1
    assert megabytes < 50
