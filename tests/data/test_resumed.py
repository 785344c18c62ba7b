"""A preparation that is stopped and goes on."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

from quantart.data import packing
from quantart.data.files import PictureFile
from quantart.data.packing import Geometry, work_key, write_shards
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.decode import ImageError
from quantart.machine.claim import claimed
from quantart.params.data import DataParams

from .prepared import pixels, read_index

ROOT = Path(__file__).parents[2]
GEOMETRY = Geometry(8, 2.0, 10**6)


def shades(folder: Path, count: int, side: int = 8) -> list[PictureFile]:
    """Pictures of one shade each; a shade returns after 1,000 pictures."""
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (side, side), (i % 250, i // 250, 0)).save(folder / f"{i:05}.png")
    return [PictureFile(path.name, path) for path in sorted(folder.iterdir())]


def params(**changes: object) -> DataParams:
    return DataParams.model_validate({"content": "-", "style": "-", "resolution": 32, "short_side": 32} | changes)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def quantart(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "quantart_cli", "prepare", "--domain", "content", "--workers", "2"]
    return subprocess.Popen(command, cwd=root, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_killed_it_goes_on_and_gives_the_same_bytes(tmp_path):
    shades(tmp_path / "pictures", 900, side=256)
    written = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf8"))
    written["data"] |= {"content": "pictures", "short_side": 128, "resolution": 128}
    written["stage2"]["train"]["crop"] = 16
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(written))
    prepared = tmp_path / "data" / "prepared"

    first = quantart(tmp_path)
    assert first.stderr is not None
    while not (line := first.stderr.readline()).startswith("preparing content: "):
        assert line
    first.kill()
    first.communicate(timeout=60)  # ends when the workers have: they hold the other end
    assert first.returncode == -signal.SIGKILL
    assert not (prepared / "content").exists()
    made = {path.name: path.stat().st_ino for path in prepared.glob(".content.partial/*/shard-*.arrow")}
    assert 1 <= len(made) < 8

    _, said = quantart(tmp_path).communicate(timeout=300)
    assert f"goes on where it was stopped; {len(made)} shards" in said
    assert [path.name for path in prepared.iterdir()] == ["content"]
    assert {name: (prepared / "content" / name).stat().st_ino for name in made} == made
    whole = prepared / "content"
    prepare_domain(
        tmp_path / "pictures", tmp_path / "undisturbed", params(**written["data"]), domain="content", workers=1
    )
    assert contents(whole) == contents(tmp_path / "undisturbed")
    assert len(contents(whole)) == 8 + 4


def test_several_workers_write_the_same_shards_as_one(tmp_path):
    files = shades(tmp_path / "pictures", 300)
    files[7].path.write_bytes(b"x")
    shutil.copy(files[2].path, files[200].path)
    for workers in (1, 2, 3, 8):  # 8: three, of two threads each
        prepare_domain(tmp_path / "pictures", tmp_path / f"{workers}", params(), domain="content", workers=workers)
    assert contents(tmp_path / "1") == contents(tmp_path / "2") == contents(tmp_path / "3") == contents(tmp_path / "8")
    assert len(list((tmp_path / "1").glob("shard-*"))) == 3
    rows = read_index(tmp_path / "1")
    assert len(rows) == 298
    shown = [pixels(tmp_path / "1", row)[0, 0, :2].tolist() for row in rows]
    assert shown == [[int(row.file[:5]) % 250, int(row.file[:5]) // 250] for row in rows]


def test_what_was_read_is_kept_when_a_parameter_stops_the_preparation(tmp_path):
    files = shades(tmp_path / "pictures", 10)
    files[0].path.write_bytes(b"x")
    with pytest.raises(UserError, match="can't be used"):
        prepare_domain(
            tmp_path / "pictures", tmp_path / "out", params(max_rejected_share=0), domain="content", workers=1
        )
    assert not (tmp_path / "out").exists()
    (shard,) = tmp_path.glob(".out.partial/*/shard-00000.arrow")
    made = shard.stat().st_ino
    prepare_domain(tmp_path / "pictures", tmp_path / "out", params(max_rejected_share=0.2), domain="content", workers=1)
    assert (tmp_path / "out" / "shard-00000.arrow").stat().st_ino == made
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures"]


def test_what_could_not_be_read_is_read_again(tmp_path, monkeypatch):
    shades(tmp_path / "pictures", 200)
    given = tmp_path / "pictures", tmp_path / "out", params(max_rejected_share=0)
    read = packing.read_file

    def away(path: Path, *place: int) -> bytes:
        if path.name == "00150.png":
            raise ImageError("cannot be read: Input/output error")
        return read(path, *place)

    monkeypatch.setattr(packing, "read_file", away)
    with pytest.raises(UserError, match="Input/output error"):
        prepare_domain(*given, domain="content", workers=1)
    monkeypatch.setattr(packing, "read_file", read)
    first, _ = sorted(tmp_path.glob(".out.partial/*/shard-*"))
    made = first.stat().st_ino
    assert prepare_domain(*given, domain="content", workers=1).kept == 200
    assert (tmp_path / "out" / first.name).stat().st_ino == made


def test_what_a_broken_disk_left_is_written_again(tmp_path):
    files = shades(tmp_path / "pictures", 140)
    prepare_domain(tmp_path / "pictures", tmp_path / "whole", params(), domain="content", workers=1)
    work = tmp_path / ".out.partial" / work_key(files, Geometry(32, params().max_aspect, params().max_pixels))
    work.mkdir(parents=True)
    (work / "shard-00001.arrow").write_bytes(b"ARROW1")
    (work / ".shard-1-elsewhere-7").write_bytes(b"half of it")
    prepare_domain(tmp_path / "pictures", tmp_path / "out", params(), domain="content", workers=1)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_two_at_once_are_refused(tmp_path):
    shades(tmp_path / "pictures", 3)
    with claimed(tmp_path / ".out.preparing"), pytest.raises(UserError, match="another process is preparing it"):
        prepare_domain(tmp_path / "pictures", tmp_path / "out", params(), domain="content", workers=1)
    prepare_domain(tmp_path / "pictures", tmp_path / "out", params(), domain="content", workers=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "pictures"]


def test_other_files_or_sizes_begin_anew(tmp_path, monkeypatch):
    files = shades(tmp_path / "pictures", 3)
    key = work_key(files, GEOMETRY)
    assert work_key(files, GEOMETRY) == key
    keys = {key, work_key(files[:2], GEOMETRY), work_key(files, Geometry(9, 2.0, 10**6))}
    status = files[1].path.stat()
    os.utime(files[1].path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    keys.add(work_key(files, GEOMETRY))
    files[1].path.unlink()
    keys.add(work_key(files, GEOMETRY))
    monkeypatch.setattr(packing, "checksums", lambda name: {name: "other code"})
    keys.add(work_key(files, GEOMETRY))
    assert len(keys) == 6


def kill_own_process(*arguments: object, **named: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_dies_is_reported(tmp_path, monkeypatch):
    files = shades(tmp_path / "pictures", 300)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(packing, "write_shard", kill_own_process)
    with pytest.raises(UserError, match=r"worker process died .*'00000.png' … '00255.png'; .*data\.max_pixels"):
        list(write_shards(files, GEOMETRY, tmp_path / "out", workers=2))
    assert not list((tmp_path / "out").iterdir())
    assert not multiprocessing.active_children()
