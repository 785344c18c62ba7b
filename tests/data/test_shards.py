"""Tar shards: read in place, never unpacked."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from quantart.data.shards import shard_pictures
from quantart.errors import UserError
from quantart.images.decode import read_file

PHOTOS = Path(__file__).parents[2] / "data" / "sample" / "photos"


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in fields.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    """Three real photographs, one behind a name that needs an extended header, and what lies beside them."""
    with tarfile.open(tmp_path / "shard.tar", "w") as archive:
        add(archive, "000.json", b"{}")
        archive.add(PHOTOS / "colosseum.jpg", "000.jpg")
        add(archive, "deep", type=tarfile.DIRTYPE)
        archive.add(PHOTOS / "kitten_on_lawn.jpg", f"./deep/{'é' * 80} 1.JPG")
        add(archive, "._000.jpg", b"x")
        add(archive, "line\nbreak.jpg", (PHOTOS / "pier.jpg").read_bytes())
    return tmp_path / "shard.tar"


def test_each_picture_is_where_it_says(shard):
    before = set(shard.parent.iterdir())
    passed_over: list[str] = []
    found = list(shard_pictures(shard, passed_over, "train/"))
    assert [picture.name for picture in found] == [
        "train/000.jpg",
        f"train/deep/{'é' * 80} 1.JPG",
        "train/line\nbreak.jpg",
    ]
    assert passed_over == ["train/000.json"]
    for picture, original in zip(found, ("colosseum.jpg", "kitten_on_lawn.jpg", "pier.jpg"), strict=True):
        assert read_file(picture.path, picture.offset, picture.size) == (PHOTOS / original).read_bytes()
    assert set(shard.parent.iterdir()) == before


def test_what_is_inside_the_archive_is_used_whatever_leads_to_it(tmp_path):
    with tarfile.open(tmp_path / "links.tar", "w") as archive:
        add(archive, "deep/soft.jpg", type=tarfile.SYMTYPE, linkname="../good.jpg")
        add(archive, "again", type=tarfile.SYMTYPE, linkname="deep/soft.jpg")
        add(archive, "good.jpg", (PHOTOS / "colosseum.jpg").read_bytes())
        add(archive, "hard.jpg", type=tarfile.LNKTYPE, linkname="good.jpg")
        add(archive, "/home/me/abs.jpg", (PHOTOS / "colosseum.jpg").read_bytes())
        add(archive, "a/../up.jpg", (PHOTOS / "colosseum.jpg").read_bytes())
        add(archive, "to notes", type=tarfile.SYMTYPE, linkname="notes")
    found = list(shard_pictures(tmp_path / "links.tar", []))
    assert [picture.name for picture in found] == [
        *("good.jpg", "home/me/abs.jpg", "up.jpg"),
        *("deep/soft.jpg", "again", "hard.jpg"),
    ]
    for picture in found:
        assert picture.fault is None
        assert read_file(picture.path, picture.offset, picture.size) == (PHOTOS / "colosseum.jpg").read_bytes()


def test_devices_and_what_leads_out_of_the_archive_are_set_aside(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as archive:
        add(archive, "good.jpg", b"x")
        add(archive, "soft.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "absolute.jpg", type=tarfile.SYMTYPE, linkname="/good.jpg")
        add(archive, "above.jpg", type=tarfile.SYMTYPE, linkname="../good.jpg")
        add(archive, "hard.jpg", type=tarfile.LNKTYPE, linkname="gone.jpg")
        add(archive, "circle.jpg", type=tarfile.SYMTYPE, linkname="circle.jpg")
        add(archive, "pipe.jpg", type=tarfile.FIFOTYPE)
        add(archive, "../out.jpg", b"x")
        add(archive, "a/../../out.jpg", b"x")
    link, out = "a link to no picture in the archive", "leads out of the archive with `..`"
    assert {
        picture.name: (picture.fault or "").split(";")[0] for picture in shard_pictures(tmp_path / "evil.tar", [])
    } == {
        "good.jpg": "",
        **dict.fromkeys(("soft.jpg", "absolute.jpg", "above.jpg", "hard.jpg", "circle.jpg"), link),
        "pipe.jpg": "no regular file",
        **dict.fromkeys(("../out.jpg", "a/../../out.jpg"), out),
    }


def test_a_shard_that_is_compressed_is_reported_whatever_its_name(shard):
    packed = shard.with_name("packed.tar")
    packed.write_bytes(gzip.compress(shard.read_bytes()))
    with pytest.raises(UserError, match=r"packed.tar: compressed"):
        list(shard_pictures(packed, []))


@pytest.mark.parametrize("cut", [100, 1024, 40_000, 10_240])
def test_a_shard_that_is_cut_off_is_reported_wherever_it_ends(shard, cut):
    shard.write_bytes(shard.read_bytes()[:cut])
    with pytest.raises(UserError, match=r"shard.tar: .*damaged"):
        list(shard_pictures(shard, []))


def test_a_broken_header_is_not_taken_for_the_end(shard):
    data = bytearray(shard.read_bytes())
    (_, second, _) = shard_pictures(shard, [])
    place = data.rindex(b"line\nbreak", second.offset)
    data[place : place + 5] = b"\xff" * 5  # its checksum no longer fits
    shard.write_bytes(data)
    with pytest.raises(UserError, match="no end marker at byte"):
        list(shard_pictures(shard, []))


def test_a_file_that_is_no_tar_and_a_missing_file_are_reported(tmp_path):
    (tmp_path / "photo.tar").write_bytes((PHOTOS / "colosseum.jpg").read_bytes())
    (tmp_path / "empty.tar").touch()
    for name in ("photo.tar", "empty.tar"):
        with pytest.raises(UserError, match=f"{name}: .*damaged"):
            list(shard_pictures(tmp_path / name, []))
    with pytest.raises(UserError, match="gone.tar: no regular file"):
        list(shard_pictures(tmp_path / "gone.tar", []))
