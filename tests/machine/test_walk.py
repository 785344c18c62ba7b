"""The files of a folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.machine.walk import walk


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of links: to files, to folders elsewhere, in circles, into nothing."""
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "links"
    for name in ("one/1", "one/deep/2", "two/3", ".hidden/4"):
        (elsewhere / name).parent.mkdir(parents=True, exist_ok=True)
        (elsewhere / name).touch()
    folder.mkdir()
    for name, target in {"file": elsewhere / "two/3", "one": elsewhere / "one", "none": tmp_path / "none"}.items():
        (folder / name).symlink_to(target)
    (elsewhere / "one" / "up").symlink_to(folder)
    (elsewhere / "one" / "deep" / "again").symlink_to(elsewhere / "one")
    (folder / "self").symlink_to(folder / "self")
    (folder / ".secret").symlink_to(elsewhere / "two")
    return folder


def names(folder: Path, without: Path | None = None) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in walk(folder, without))


def test_links_are_followed_and_loops_are_not(folder: Path) -> None:
    assert names(folder) == ["file", "none", "one/1", "one/deep/2", "self"]


def test_a_folder_is_left_out_whatever_leads_to_it(folder: Path, tmp_path: Path) -> None:
    assert names(folder, tmp_path / "elsewhere" / "one") == ["file", "none", "self"]
    assert names(folder, folder / "not there") == names(folder)


def test_what_cannot_be_listed_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        list(walk(tmp_path / "none"))
    assert str(tmp_path / "none") in error.value.fault
