"""Partners by name, and pairs that are kept in a file."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest

from quantart.data.pairs import name_number, partners, read_pairs, write_pairs
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.params.data import DataParams
from quantart.vocabulary.names import DOMAINS

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
ODD = ['"quoted", with comma.jpg', "line\nbreak.jpg", "=1+1.jpg"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[PackedPictures]:
    """Six training pictures of each domain, some with names that a table must quote."""
    folder = tmp_path_factory.mktemp("pairs")
    params = DataParams(content="x", style="y", resolution=32, short_side=40, val_share=0.0, test_share=0.0)
    for domain, name in zip(DOMAINS, ("photos", "paintings"), strict=True):
        (folder / name).mkdir()
        originals = sorted((SAMPLE / name).glob("*.jpg"))[:6]
        for original, as_name in zip(originals, ODD + [path.name for path in originals[3:]], strict=True):
            shutil.copy(original, folder / name / as_name)
        prepare_domain(folder / name, folder / domain, params, domain=domain, workers=1)
    return [PackedPictures(folder / domain, "train") for domain in DOMAINS]


def test_partners_are_those_of_the_same_name_in_the_order_of_the_content():
    contents, styles = ["b.jpg", "a/1.jpg", "lonely.jpg", "c.jpg"], ["a/1.png", "c.webp", "b.jpg", "alone.jpg"]
    assert partners(contents, styles) == [(0, 2), (1, 0), (3, 1)]


def test_partners_share_a_number():
    assert name_number("a/1.jpg") == name_number("shard.tar/a/1.png") != name_number("a/2.jpg")


def test_pairs_are_read_as_they_were_written(pictures, tmp_path):
    pairs = [(0, 5), (1, 1), (2, 0), (0, 5), (5, 4)]
    write_pairs(tmp_path / "val.csv", *pictures, pairs)
    assert read_pairs(tmp_path / "val.csv", *pictures) == pairs
    with (tmp_path / "val.csv").open(newline="") as file:
        first = next(csv.DictReader(file))
    assert first["content_sha256"] == pictures[0].sha256[0]
    assert first["style"] == pictures[1].files[5]


def test_a_file_that_is_missing_damaged_or_of_other_pictures_is_reported(pictures, tmp_path):
    path = tmp_path / "val.csv"
    with pytest.raises(UserError, match=r"val.csv: .*quantart pair"):
        read_pairs(path, *pictures)
    for damaged in (b"", b"content,style\n", b"content,content_sha256,style,style_sha256\n", b"\xff\xfe"):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"val.csv: .*quantart pair"):
            read_pairs(path, *pictures)
    write_pairs(path, *pictures, [(3, 3)])
    whole = path.read_text()
    path.write_text(whole[:-20])
    with pytest.raises(UserError, match=r"val.csv: .*\.jpg' \(sha256 "):
        read_pairs(path, *pictures)
    path.write_text(whole.replace(pictures[0].sha256[3], "0" * 64))
    with pytest.raises(UserError, match=r"\(sha256 000000000000…\)"):
        read_pairs(path, *pictures)
    path.write_text(whole + '"only","two"\n')
    with pytest.raises(UserError, match=r"val\.csv: no table"):
        read_pairs(path, *pictures)
