"""Lists and tables of pictures as people have them, and names that want out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantart.data.files import PictureFile
from quantart.data.sources import listed_pictures, tabled_pictures
from quantart.errors import UserError
from quantart.images.decode import ImageError, read_file

WIKIART = 'filename,artist,title,genre\n1.jpg,van Gogh,"Sea, with boats",landscape\n2.jpg,Degas,Two,genre painting\n'


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pictures in a folder of their own, and one beside it."""
    for name in ("root/1.jpg", "root/two words.jpg", "root/deep/line\nbreak.jpg", "outside.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path / "root"


def written(folder: Path, content: str | bytes, name: str = "list.txt") -> Path:
    path = folder.parent / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def faults(pictures: list[PictureFile]) -> dict[str, str | None]:
    return {picture.name: picture.fault for picture in pictures}


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_list_has_one_path_per_line_with_any_line_ends(root, bom, end):
    lines = ["1.jpg", "", "# a comment", "  two words.jpg  ", "./deep/2.jpg", "é\u2028.jpg"]
    pictures = listed_pictures(written(root, bom + end.join(lines).encode()), root)
    assert [picture.name for picture in pictures] == ["1.jpg", "two words.jpg", "deep/2.jpg", "é\u2028.jpg"]
    assert [picture.path for picture in pictures[:2]] == [root / "1.jpg", root / "two words.jpg"]
    assert not [picture for picture in pictures if picture.fault]  # that 2.jpg is missing is seen when it is opened


def both(root: Path, names: list[str]) -> Iterator[list[PictureFile]]:
    """What a list and a table of the names say."""
    yield listed_pictures(written(root, "\n".join(names)), root)
    yield tabled_pictures(written(root, "\n".join(["filename", *names])), root, "filename", None)


def test_what_is_inside_the_root_is_used_however_its_name_is_written(root):
    (root / "link.jpg").symlink_to(root.parent / "outside.jpg")  # as in a folder: DVC and people make such links
    (root / "up").symlink_to(root.parent)
    (root.parent / "way in").symlink_to(root)
    names = {
        str(root / "1.jpg"): "1.jpg",
        "deep/../two words.jpg": "two words.jpg",
        f"../{root.name}/1.jpg": "1.jpg",
        str(root.parent / "way in" / "1.jpg"): "1.jpg",
        "link.jpg": "link.jpg",
        "up/outside.jpg": "up/outside.jpg",
    }
    for pictures in both(root, list(names)):
        assert faults(pictures) == dict.fromkeys(names.values())
        assert [picture.name for picture in pictures] == list(names.values())
        assert all(picture.path.is_file() for picture in pictures)


def test_names_that_lead_out_of_the_root_are_set_aside_each_with_its_reason(root):
    (root / "up").symlink_to("/")
    outside = ["../outside.jpg", "/etc/passwd", "up/../../outside.jpg", str(root.parent / "outside.jpg")]
    for pictures in both(root, outside):
        for name, fault in faults(pictures).items():
            assert name in outside
            assert re.match(rf"leads out of {root.name}; .*`root`", fault or "")


def test_a_list_of_absolute_paths_needs_no_root_or_any_above_them(root):
    """As `find $PWD/photos -name '*.jpg' > train.txt` writes it."""
    path = written(root, f"{root}/1.jpg\n{root}/two words.jpg\n")
    for above, name in ((root.parent, f"{root.name}/1.jpg"), (Path("/"), str(root / "1.jpg")[1:])):
        first, second = listed_pictures(path, above)
        assert (first.name, first.fault, second.fault) == (name, None, None)
        assert first.path.samefile(root / "1.jpg")


def test_names_match_however_their_accents_are_coded(root):
    (root / "Cafe\u0301").mkdir()
    (root / "Cafe\u0301" / "Zu\u0308rich.jpg").touch()
    for pictures in both(root, ["Caf\u00e9/Z\u00fcrich.jpg"]):
        assert faults(pictures) == {"Caf\u00e9/Z\u00fcrich.jpg": None}
        assert pictures[0].path.is_file()
    (root / "M\u00f6bel.jpg").touch()
    for pictures in both(root, ["Mo\u0308bel.jpg"]):
        assert pictures[0].path.is_file()
    for header, where in (("stu\u0308ck", "ort == Z\u00fcrich"), ("st\u00fcck", "ort == Zu\u0308rich")):
        for row in ("1.jpg,Zu\u0308rich", "1.jpg,Z\u00fcrich"):
            table = written(root, f"{header},ort\n{row}\n", "info.csv")
            for column in ("st\u00fcck", "stu\u0308ck"):
                assert len(tabled_pictures(table, root, column, where)) == 1


def test_two_files_of_one_name_are_named_and_the_one_that_is_meant_exactly_is_used(root):
    for name in ("\u1e69.jpg", "s\u0323\u0307.jpg"):  # ṩ, whole and in parts
        (root / name).touch()
    for pictures in both(root, ["\u1e69.jpg", "s\u0307\u0323.jpg"]):
        exact, neither = pictures
        assert (exact.path.name, exact.fault) == ("\u1e69.jpg", None)
        assert re.match("s\u0307\u0323.jpg: 2 files .* accents", neither.fault or "")


def test_a_name_that_is_no_file_name_is_set_aside_when_it_is_opened(root):
    for pictures in both(root, ["nul\0.jpg"]):
        with pytest.raises(ImageError, match="cannot be read: .*embedded null"):
            read_file(pictures[0].path)


def test_the_root_itself_may_be_a_link(root):
    (root.parent / "to root").symlink_to(root)
    assert faults(listed_pictures(written(root, "1.jpg"), root.parent / "to root")) == {"1.jpg": None}


def test_a_list_that_is_no_text_or_empty_is_reported(root):
    with pytest.raises(UserError, match=r"list.txt: .*byte 2"):
        listed_pictures(written(root, b"1.\xe9pg"), root)
    with pytest.raises(UserError, match=r"list.txt: .*root"):
        listed_pictures(written(root, "# nothing\n\n"), root)
    with pytest.raises(UserError, match=r"root: cannot be read: Is a directory"):
        listed_pictures(root, root)


def test_a_table_is_read_with_its_mark_line_ends_and_quotes(root):
    rows = (
        'filename,title,genre\r\n1.jpg,"Sea, with ""boats""",landscape\r\n\r\n"deep/line\nbreak.jpg",x, landscape\r\n'
    )
    table = written(root, b"\xef\xbb\xbf" + rows.encode(), "info.csv")
    pictures = tabled_pictures(table, root, "filename", "genre == landscape")
    assert faults(pictures) == {"1.jpg": None, "deep/line\nbreak.jpg": None}
    assert all(picture.path.is_file() for picture in pictures)
    quoted = tabled_pictures(table, root, "filename", "title == 'Sea, with \"boats\"'")
    assert [picture.name for picture in quoted] == ["1.jpg"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_a_table_as_spreadsheets_of_other_languages_write_it(root, separator):
    rows = [["Bild", "Titel"], ["1.jpg", "See; blau, 1890"], ["a,b;c.jpg", "x"]]
    text = "\r\n".join(separator.join(f'"{cell}"' if ";" in cell else cell for cell in row) for row in rows)
    pictures = tabled_pictures(written(root, text, "info.csv"), root, "Bild", "Titel != x")
    assert faults(pictures) == {"1.jpg": None}


def test_all_clauses_must_hold_for_a_row(root):
    table = written(root, WIKIART, "info.csv")
    for where, names in (
        (None, ["1.jpg", "2.jpg"]),
        ("genre == genre painting", ["2.jpg"]),
        ("genre != landscape and artist == Degas", ["2.jpg"]),
        ("title == Sea, with boats", ["1.jpg"]),
    ):
        assert [picture.name for picture in tabled_pictures(table, root, "filename", where)] == names


def test_an_unknown_column_names_those_there_are(root):
    table = written(root, WIKIART, "info.csv")
    for column, where in (("file", None), ("filename", "file == x")):
        with pytest.raises(UserError, match=r"info.csv: .*'file'; .*filename, artist, title, genre"):
            tabled_pictures(table, root, column, where)
    with pytest.raises(UserError, match=r"'filename'; .*none"):
        tabled_pictures(written(root, "", "info.csv"), root, "filename", None)


def test_a_filter_that_matches_nothing_reports_the_values_there_are(root):
    with pytest.raises(UserError, match=r"genre == sea; 'genre' .*'landscape', 'genre painting'$"):
        tabled_pictures(written(root, WIKIART, "info.csv"), root, "filename", "genre == sea")
    many = "filename,n\n" + "".join(f"{i}.jpg,{i}\n" for i in range(13))
    with pytest.raises(UserError, match=r"'9' and 3 more$"):
        tabled_pictures(written(root, many, "info.csv"), root, "filename", "n == x")
    with pytest.raises(UserError, match=r"info.csv: .*no row"):
        tabled_pictures(written(root, "filename\n", "info.csv"), root, "filename", None)


def test_rows_with_a_wrong_number_of_cells_or_without_a_name_are_set_aside(root):
    table = written(root, "filename,genre\n1.jpg,sea, with boats\n2.jpg\n,sea\n3.jpg,sea\n", "info.csv")
    assert faults(tabled_pictures(table, root, "filename", "genre == sea")) == {
        "1.jpg": "line 2 has 3 cells where the header has 2",
        "2.jpg": "line 3 has 1 cells where the header has 2",
        "line 4": "no name in column 'filename'",
        "3.jpg": None,
    }


def test_an_unclosed_quote_is_reported(root):
    with pytest.raises(UserError, match=r"info.csv: line \d+ .*field larger than field limit"):
        tabled_pictures(written(root, 'filename\n"' + "x" * 200_000, "info.csv"), root, "filename", None)
