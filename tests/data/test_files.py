"""Names of pictures: in tables, below their root, and what partners share."""

from __future__ import annotations

import os

import pytest

from quantart.data.files import inside, pair_name, table_name


@pytest.mark.parametrize(
    "name", ["=cmd.jpg", "+1.jpg", "-1.jpg", "@x.jpg", "\t=1.jpg", "\r=1.jpg", "\n=1.jpg", "＝1.jpg"]
)
def test_names_in_tables_are_no_formulas_but_still_paths(tmp_path, name):
    (tmp_path / name).touch()
    written = table_name(name)
    assert written == f"./{name}"
    assert (tmp_path / written).exists()


def test_names_in_tables_are_valid_text():
    assert table_name(os.fsdecode(b"\xe9.jpg")) == "\\udce9.jpg"
    assert table_name("a b/é=.jpg") == "a b/é=.jpg"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("a/b.jpg", "a/b.jpg"),
        ("./a.jpg", "a.jpg"),
        ("/home/me/a.jpg", "home/me/a.jpg"),
        ("a/../b.jpg", "b.jpg"),
        ("..a.jpg", "..a.jpg"),
        ("../a.jpg", None),
        ("/../a.jpg", None),
        ("a/../../b.jpg", None),
        ("..", None),
    ],
)
def test_names_in_archives_are_paths_below_their_root_or_lead_out(name, path):
    assert inside(name) == path


def test_partners_share_the_path_without_ending_and_without_shard():
    assert pair_name("a/1.jpg") == pair_name("./a/1.png") == pair_name("train-0.tar/a/1.webp") == "a/1"
    assert pair_name("deep/train-0.TAR/7.jpg") == pair_name("7.png") == "7"
    assert len({pair_name(file) for file in ("a/1.jpg", "b/1.jpg", "1.jpg", "a/1.v2.jpg", "a/1.tar.jpg")}) == 5


def test_partners_share_a_name_however_its_accents_are_coded():
    assert pair_name("Caf\u00e9/1.jpg") == pair_name("Cafe\u0301/1.png") == "Caf\u00e9/1"
