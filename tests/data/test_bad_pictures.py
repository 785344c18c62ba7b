"""`quantart prepare` on a folder of odd and bad pictures: it ends, and what becomes of each is right."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest
import yaml
from PIL import Image

from quantart.data.files import PictureFile, table_name
from quantart.data.packing import Geometry, Loaded, Rejected, load_picture
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.arrays import Picture
from quantart.params.data import DataParams

from . import bad_pictures as corpus
from .prepared import pixels, read_index

PARAMS = Path(__file__).parents[2] / "params.yaml"
DATA = {
    "content": "pictures",
    "short_side": corpus.SHORT_SIDE,
    "resolution": corpus.SHORT_SIDE,
    "max_aspect": corpus.MAX_ASPECT,
    "max_pixels": corpus.MAX_PIXELS,
    "max_rejected_share": 0.6,
}
PERMISSION = "no permission.jpg"


def lay_out(folder: Path) -> None:
    """The whole corpus, with what only a file system can hold."""
    for name, kind in (corpus.good() | corpus.bad()).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(kind.data)
    (folder / "dangling.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "circle.jpg").symlink_to(folder / "circle.jpg")
    (folder / "there.jpg").symlink_to(folder / "back.jpg")
    (folder / "back.jpg").symlink_to(folder / "there.jpg")
    (folder / "up").symlink_to(folder)
    (folder / "empty folder.jpg").mkdir()
    os.mkfifo(folder / "pipe.jpg")
    shutil.copy(corpus.PHOTO, folder / PERMISSION)
    (folder / PERMISSION).chmod(0)
    shutil.copy(corpus.PHOTO, folder / "copy of baseline.jpg")
    (folder / "zz link to baseline.jpg").symlink_to(folder / "baseline.jpg")
    os.link(folder / "baseline.jpg", folder / "zz hard link.jpg")
    shutil.copy(corpus.PHOTO, folder / "baseline.jpg.bak")
    for name in PASSED_OVER:
        (folder / name).write_bytes(b"II*\0 no picture, or a camera's raw file" if name.endswith("nef") else b"text")


ON_DISK = {  # begin of the reason
    "dangling.jpg": "cannot be read: No such file",
    "circle.jpg": "cannot be read: Too many levels of symbolic links",
    "there.jpg": "cannot be read: Too many levels of symbolic links",
    "back.jpg": "cannot be read: Too many levels of symbolic links",
    "pipe.jpg": "not a regular file",
}
PASSED_OVER = ["notes", "page.html", "raw.nef", "sidecar.XMP"]
DUPLICATES = {"baseline.jpg", "baseline.jpg.bak", "copy of baseline.jpg", "zz link to baseline.jpg", "zz hard link.jpg"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project whose photographs are the corpus, prepared by a `quantart` that may not read everything."""
    root = tmp_path_factory.mktemp("project")
    params = yaml.safe_load(PARAMS.read_text(encoding="utf8"))
    params["data"] |= DATA
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    (root / "pictures").mkdir()
    lay_out(root / "pictures")
    command = [sys.executable, "-m", "quantart_cli", "prepare", "--domain", "content", "--workers", "2"]
    done = subprocess.run([*without_privileges(), *command], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (root / "said").write_text(done.stderr, encoding="utf8")
    yield root
    (root / "pictures" / PERMISSION).chmod(0o600)


def without_privileges() -> list[str]:
    """What to put before a command so that it can't read what its permissions forbid, as root can."""
    if os.getuid() == 0 and shutil.which("setpriv"):
        return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return []


@pytest.fixture(scope="module")
def prepared(project: Path) -> Path:
    return project / "data" / "prepared" / "content"


def reasons(prepared: Path) -> dict[str, str]:
    with (prepared / "rejected.csv").open(encoding="utf8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["file"] for row in rows}) == len(rows)
    return {row["file"]: row["reason"] for row in rows}


def kept(prepared: Path) -> dict[str, Picture]:
    return {row.file: pixels(prepared, row) for row in read_index(prepared)}


@pytest.mark.slow
def test_the_corpus_has_many_kinds():
    assert len(corpus.good()) >= 100
    assert len(corpus.bad()) >= 100


def test_every_usable_picture_is_stored_with_its_own_pixels(prepared):
    stored = kept(prepared)
    wrong: dict[str, object] = {}
    for name, expected in corpus.good().items():
        picture = stored.get(table_name(name))
        if picture is None:
            if name not in DUPLICATES:
                wrong[name] = "not kept"
        elif picture.shape != expected.pixels.shape:
            wrong[name] = picture.shape
        else:
            off = float(np.abs(picture.astype(int) - expected.pixels).mean())
            if off > expected.tolerance:
                wrong[name] = off
    assert wrong == {}
    assert len(stored) == len(corpus.good())


def test_every_unusable_file_is_set_aside_with_its_reason(prepared):
    found = reasons(prepared)
    expected = {name: kind.reason for name, kind in corpus.bad().items()} | ON_DISK
    assert {
        name: found.get(name) for name, reason in expected.items() if not re.match(reason, found.get(name, ""))
    } == {}
    assert set(found) - set(expected) <= {PERMISSION}


@pytest.mark.skipif(
    os.getuid() == 0 and not without_privileges(), reason="root may read everything, and no setpriv here"
)
def test_unreadable_files_are_set_aside(prepared):
    assert reasons(prepared)[PERMISSION] == "cannot be read: Permission denied"


def test_the_counts_add_up(prepared):
    report = json.loads((prepared / "report.json").read_text(encoding="utf8"))
    counts = report["counts"]
    assert counts["found"] == counts["kept"] + counts["duplicates"] + counts["rejected"]
    assert (
        counts["found"]
        == len(corpus.good()) + len(corpus.bad()) + len(ON_DISK) + len(DUPLICATES - {"baseline.jpg"}) + 1
    )
    assert report["passed_over"] == PASSED_OVER
    assert counts["rejected"] == len(reasons(prepared)) == len(report["rejected"])
    assert counts["kept"] == len(kept(prepared))
    same = {entry["file"] for entry in report["duplicates"]} | {entry["same_as"] for entry in report["duplicates"]}
    assert same - {PERMISSION} == DUPLICATES


def test_the_last_line_says_what_became_of_every_file(project, prepared):
    counts = json.loads((prepared / "report.json").read_text(encoding="utf8"))["counts"]
    line = (project / "said").read_text(encoding="utf8").splitlines()[-1]
    for part in (
        rf"content: {counts['kept']} used \(",
        rf"{counts['duplicates']} duplicates",
        rf"{counts['rejected']} set aside \(\d+ × broken picture, .* other\)",
        r"4 passed over as no pictures \(1 × .*\)",
        re.escape(str(prepared / "report.json")),
    ):
        assert re.search(part, line), part


def test_more_than_the_share_stops_with_the_first_ten_reasons(project, tmp_path):
    strict = DataParams.model_validate(DATA | {"style": "unused", "max_rejected_share": 0.05})
    with pytest.raises(UserError) as caught:
        prepare_domain(project / "pictures", tmp_path / "out", strict, domain="content", workers=1)
    lines = str(caught.value).splitlines()
    assert re.match(
        r"data\.content: \d+ of \d+ pictures can't be used, more than data\.max_rejected_share 0\.05", lines[0]
    )
    assert len(lines) == 12
    assert all(re.match(r"  '.+': \w", line) for line in lines[1:11])
    assert re.fullmatch(r"  and \d+ more", lines[11])
    assert not (tmp_path / "out").exists()


# --- files that change while they are read ----------------------------------------------------------------------------

GEOMETRY = Geometry(corpus.SHORT_SIDE, corpus.MAX_ASPECT, corpus.MAX_PIXELS)


class Interrupted:
    """An open file in whose reading, half-way, something else happens to it."""

    def __init__(self, file: BinaryIO, happens: Any) -> None:
        self._file, self._happens = file, happens

    def __enter__(self) -> Interrupted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, place: int) -> int:
        return self._file.seek(place)

    def read(self, size: int = -1) -> bytes:
        whole = os.fstat(self.fileno()).st_size if size < 0 else size
        first = self._file.read(whole // 2)
        self._happens()
        return first + self._file.read(size if size < 0 else size - len(first))


def read_while(path: Path, happens: Any, monkeypatch: pytest.MonkeyPatch) -> Loaded | Rejected:
    # unbuffered, so that the second half is read from the disk after it has changed
    file = Interrupted(path.open("rb", buffering=0), happens)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda own, mode: file)
        return load_picture(PictureFile(path.name, path), GEOMETRY)


def write(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:  # Path.open is the one that is interrupted
        file.write(data)


def bitmap(colour: str) -> bytes:
    """A picture whose halves stay readable when they are of two versions."""
    return corpus.encoded(Image.new("RGB", (256, 256), colour), "BMP")


@pytest.mark.parametrize("version", [bitmap("blue"), bitmap("blue")[:70_000], bitmap("blue") + b"more"])
def test_a_picture_that_is_written_while_it_is_read_is_set_aside(version, tmp_path, monkeypatch):
    path = tmp_path / "x.bmp"
    path.write_bytes(bitmap("red"))
    os.utime(path, (0, 0))
    result = read_while(path, partial(write, path, version), monkeypatch)
    assert isinstance(result, Rejected)
    assert result.reason.startswith("changed while it was read")


def test_a_picture_that_is_replaced_or_removed_while_it_is_read_is_the_one_that_was_opened(tmp_path, monkeypatch):
    path, new = tmp_path / "x.bmp", tmp_path / "new"
    path.write_bytes(bitmap("red"))
    new.write_bytes(bitmap("blue"))
    for happens in (partial(new.replace, path), path.unlink):
        result = read_while(path, happens, monkeypatch)
        assert isinstance(result, Loaded)
        assert len(np.unique(result.picture.reshape(-1, 3), axis=0)) == 1


def test_a_picture_of_a_shard_that_got_shorter_is_set_aside(tmp_path):
    path = tmp_path / "x.tar"
    path.write_bytes(b"." * 512 + corpus.PHOTO.read_bytes()[:5000])
    result = load_picture(PictureFile("x.tar/1.jpg", path, 512, corpus.PHOTO.stat().st_size), GEOMETRY)
    assert isinstance(result, Rejected)
    assert result.reason.startswith("changed while it was read")


def test_a_picture_that_is_gone_when_its_turn_comes_is_set_aside(tmp_path):
    result = load_picture(PictureFile("x.jpg", tmp_path / "x.jpg"), GEOMETRY)
    assert result == Rejected("cannot be read: No such file or directory")
