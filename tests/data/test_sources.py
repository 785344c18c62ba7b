"""Finding pictures in folders as people have them, and in what else names pictures."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import pytest

from quantart.data.sources import find_pictures
from quantart.errors import UserError
from quantart.params.data import TableParams


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def found(folder: Path) -> list[str]:
    pictures = find_pictures(folder).pictures
    assert all(picture.fault is None and picture.size is None for picture in pictures)
    return [picture.path.relative_to(folder).as_posix() for picture in pictures]


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


def test_a_missing_folder_a_file_and_an_empty_folder_are_reported(tmp_path):
    touch(tmp_path, "file.zip", "full.tar.gz", "with/1.jpg", "with/shards.tgz", "empty/readme.txt")
    for name, message in (
        ("none", r"; .*\.txt.*\.csv.*\.tar"),
        ("file.zip", r"; .*\.txt.*\.csv.*\.tar.*JPEG"),
        ("full.tar.gz", r"compressed.*; .* \.tar"),
        ("with", "shards.tgz: .*compressed"),
        ("empty", r"1 other files.*; .*JPEG"),
    ):
        with pytest.raises(UserError, match=message) as caught:
            find_pictures(tmp_path / name)
        assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.skipif(os.getuid() == 0, reason="root may list everything")
def test_a_folder_that_cannot_be_listed_is_reported(tmp_path):
    touch(tmp_path, "open.jpg", "closed/1.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        with pytest.raises(UserError, match="closed: .*Permission denied"):
            find_pictures(tmp_path)
    finally:
        (tmp_path / "closed").chmod(0o700)


def test_shards_in_a_folder_are_among_its_pictures(tmp_path):
    touch(tmp_path, "b.jpg", "deep/1.jpg")
    for name in ("a.tar", "deep/c.tar"):
        with tarfile.open(tmp_path / name, "w") as archive:
            archive.add(tmp_path / "b.jpg", "inside/x.jpg")
    assert [picture.name for picture in find_pictures(tmp_path).pictures] == [
        "a.tar/inside/x.jpg",
        "b.jpg",
        "deep/1.jpg",
        "deep/c.tar/inside/x.jpg",
    ]


def test_one_picture_is_a_source(tmp_path):
    touch(tmp_path, "the one.JPG")
    (picture,) = find_pictures(tmp_path / "the one.JPG").pictures
    assert (picture.name, picture.path) == ("the one.JPG", tmp_path / "the one.JPG")


def test_a_list_and_a_table_are_read_relative_to_their_folder_or_to_a_root(tmp_path):
    touch(tmp_path, "pictures/1.jpg", "pictures/2.jpg")
    (tmp_path / "pictures" / "some.txt").write_text("2.jpg\n")
    assert [picture.path for picture in find_pictures(tmp_path / "pictures" / "some.txt").pictures] == [
        tmp_path / "pictures" / "2.jpg"
    ]
    (tmp_path / "all.csv").write_text("picture,genre\n2.jpg,portrait\n1.jpg,still life\n")
    by_column = TableParams(column="picture")
    named = find_pictures(tmp_path / "all.csv", by_column, tmp_path / "pictures").pictures
    assert [picture.path.name for picture in named] == ["1.jpg", "2.jpg"]
    filtered = TableParams(column="picture", where="genre == still life")
    assert [p.name for p in find_pictures(tmp_path / "all.csv", filtered, tmp_path / "pictures").pictures] == ["1.jpg"]
    with pytest.raises(UserError, match=r"all.csv: .*'filename'; .*picture, genre"):
        find_pictures(tmp_path / "all.csv", None, tmp_path / "pictures")
    with pytest.raises(UserError, match=r"gone: .*`root`"):
        find_pictures(tmp_path / "all.csv", by_column, tmp_path / "gone")


def test_a_folder_is_found_however_its_accents_are_coded(tmp_path):
    touch(tmp_path, "Zu\u0308rich/1.jpg")
    (tmp_path / "list.txt").write_text("1.jpg\n")
    for source, root in (("Z\u00fcrich", None), ("list.txt", tmp_path / "Z\u00fcrich")):
        (picture,) = find_pictures(tmp_path / source, None, root).pictures
        assert picture.path.is_file()
