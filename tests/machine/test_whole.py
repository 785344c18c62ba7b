from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.machine.whole import remove, resumed_folder, whole_folder, write_whole


def test_a_file_is_replaced_and_nothing_else_stays(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")
    for data in (b"one", b"two"):
        write_whole(path, data)
        assert path.read_bytes() == data
    assert list(tmp_path.iterdir()) == [path]


def test_a_place_where_nothing_can_be_written_is_reported_and_left_unchanged(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=rf"^{tmp_path}/folder: "):
        write_whole(tmp_path / "folder", b"data")
    with pytest.raises(UserError, match="no/file: .*No such file or directory"):
        write_whole(tmp_path / "no" / "file", b"data")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_a_folder_is_replaced_only_at_the_end(tmp_path: Path) -> None:
    out = tmp_path / "below" / "out"
    for name in ("one", "two"):
        with whole_folder(out) as fresh:
            (fresh / name).touch()
            assert [path.name for path in out.iterdir()] == ["one"] if out.exists() else name == "one"
            written = fresh.stat().st_ino
        assert [path.name for path in out.iterdir()] == [name]
        assert out.stat().st_ino == written  # renamed: a copied folder would be there half for a while
    with pytest.raises(FileNotFoundError), whole_folder(out) as fresh:
        (fresh / "no folder" / "three").touch()
    assert [path.name for path in out.iterdir()] == ["two"]
    assert list(out.parent.iterdir()) == [out]


def test_a_full_disk_is_said_with_its_remedy_and_the_earlier_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.json"
    write_whole(path, b"earlier")

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(UserError) as error:
        write_whole(path, b"later")
    assert error.value.fault == f"{path}: cannot be written: No space left on device"
    assert error.value.remedy == "make room on this disk"
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.json", b"earlier")]


def test_what_a_killed_run_left_is_cleared(tmp_path: Path) -> None:
    left = tmp_path / ".out.partial"
    left.mkdir()
    (left / "old").touch()
    with whole_folder(tmp_path / "out") as fresh:
        assert list(fresh.iterdir()) == []


def test_a_resumed_folder_keeps_what_was_written_for_its_own_key_alone(tmp_path: Path) -> None:
    def stop(key: str, name: str) -> list[str]:
        with pytest.raises(KeyError), resumed_folder(tmp_path / "out", key) as fresh:  # noqa: PT012
            (fresh / name).touch()
            raise KeyError
        return sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())

    assert stop("a", "1") == [".out.partial/a/1"]
    assert stop("a", "2") == [".out.partial/a/1", ".out.partial/a/2"]
    assert stop("b", "3") == [".out.partial/b/3"]
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "earlier").touch()
    with resumed_folder(tmp_path / "out", "b") as fresh:
        (fresh / "4").touch()
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["3", "4"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_in_the_place_of_a_resumed_folder_is_replaced_and_its_target_unchanged(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "file").touch()
    (tmp_path / ".out.partial").symlink_to(target)
    with resumed_folder(tmp_path / "out", "a") as fresh:
        (fresh / "1").touch()
    assert [path.name for path in target.iterdir()] == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "target"]


@pytest.mark.parametrize("make_link", [Path.symlink_to, Path.hardlink_to])
def test_a_link_is_replaced_by_a_file_and_its_target_unchanged(
    make_link: Callable[[Path, Path], None], tmp_path: Path
) -> None:
    target, path = tmp_path / "target", tmp_path / "path.json"
    target.write_bytes(b"target")
    for place in (path, tmp_path / f".path.{threading.get_native_id()}.partial"):
        make_link(place, target)
    write_whole(path, b"data")
    assert path.read_bytes() == b"data"
    assert not path.is_symlink()
    assert target.read_bytes() == b"target"
    assert sorted(tmp_path.iterdir()) == [path, target]


def test_a_link_is_replaced_by_a_folder_and_its_target_unchanged(tmp_path: Path) -> None:
    target, out = tmp_path / "target", tmp_path / "out"
    target.mkdir()
    (target / "kept").touch()
    for place in (out, tmp_path / ".out.partial", tmp_path / ".out.replaced"):
        place.symlink_to(target)
    with whole_folder(out) as fresh:
        (fresh / "new").touch()
    assert not out.is_symlink()
    assert [path.name for path in out.iterdir()] == ["new"]
    assert [path.name for path in target.iterdir()] == ["kept"]
    assert sorted(tmp_path.iterdir()) == [out, target]


def test_removing_a_link_leaves_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    for target in ("folder", "nowhere"):
        (tmp_path / "link").symlink_to(target)
        remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    remove(tmp_path / "folder")
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []
