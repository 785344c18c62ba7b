"""Finding pictures in folders as people have them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quantart.data.sources import find_pictures, table_name
from quantart.errors import UserError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in find_pictures(folder)]


def test_pictures_are_found_recursively_in_sorted_order(tmp_path):
    touch(tmp_path, "b.jpg", "a/z.PNG", "a.webp", "a/deep/er/1.tiff", "notes.txt", "a/list.csv")
    assert found(tmp_path) == ["a.webp", "a/deep/er/1.tiff", "a/z.PNG", "b.jpg"]


def test_hidden_files_and_folders_are_skipped(tmp_path):
    touch(tmp_path, "seen.jpg", "._seen.jpg", ".thumbs/t.jpg", "in/.hidden.png")
    assert found(tmp_path) == ["seen.jpg"]


def test_odd_names_are_found(tmp_path):
    names = ["two words.jpg", "line\nbreak.jpg", "🐼.png", "=1+1.jpg", "é" * 120 + ".jpg", "folder.jpg/x.jpg"]
    touch(tmp_path, *names, os.fsdecode(b"latin-\xe9.jpg"))
    assert set(found(tmp_path)) == {*names, os.fsdecode(b"latin-\xe9.jpg")}


def test_links_are_followed_once(tmp_path):
    touch(tmp_path, "pictures/real/1.jpg", "elsewhere/2.jpg")
    pictures = tmp_path / "pictures"
    (pictures / "up").symlink_to(pictures)
    (pictures / "there").symlink_to(tmp_path / "elsewhere")
    (pictures / "too").symlink_to(tmp_path / "elsewhere")
    (pictures / "circle.jpg").symlink_to(pictures / "circle.jpg")
    (pictures / "dangling.jpg").symlink_to(tmp_path / "gone")
    assert found(pictures) == ["circle.jpg", "dangling.jpg", "real/1.jpg", "there/2.jpg"]


def test_the_folder_itself_may_be_a_link(tmp_path):
    touch(tmp_path, "real/1.jpg")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert found(tmp_path / "link") == ["1.jpg"]


def test_a_missing_folder_a_file_and_an_empty_folder_are_said(tmp_path):
    touch(tmp_path, "file.jpg", "empty/readme.txt")
    for name, message in (
        ("none", "there is no such folder"),
        ("file.jpg", "is a file; give a folder"),
        ("empty", r"no picture in this folder or below it \(1 other files; pictures end in \.jpg"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            find_pictures(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.skipif(os.getuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_said(tmp_path):
    touch(tmp_path, "open.jpg", "closed/1.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(UserError, match="closed: cannot be listed: Permission denied"):
            find_pictures(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


@pytest.mark.parametrize("name", ["=cmd.jpg", "+1.jpg", "-1.jpg", "@x.jpg", "\t=1.jpg", "\r=1.jpg"])
def test_names_in_tables_are_no_formulas_but_still_paths(tmp_path, name):
    touch(tmp_path, name)
    written = table_name(tmp_path / name, tmp_path)
    assert written == f"./{name}"
    assert (tmp_path / written).exists()


def test_names_in_tables_are_valid_text(tmp_path):
    assert table_name(tmp_path / os.fsdecode(b"\xe9.jpg"), tmp_path) == "\\udce9.jpg"
    assert table_name(tmp_path / "a b" / "é=.jpg", tmp_path) == "a b/é=.jpg"
