"""The stage `pair` in a project: what it writes once, and what it says of names without a partner."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
import yaml

from quantart.data.pairing import held_out_pairs
from quantart.data.pairs import read_pairs
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.pipeline import pair, prepare
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS, SPLITS, Split

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "data" / "sample"


def project_of(root: Path, **data: object) -> Project:
    """A project of sixteen photographs and sixteen paintings, the first fourteen of each with the same names."""
    params = from_scratch()
    params["data"] |= {"content": "photos", "style": "paintings", "resolution": 32, "short_side": 36, **data}
    params["stage1"]["base"]["crop"] = params["stage1"]["domain"]["crop"] = 32
    params["stage2"]["objective"] = "reference"
    params["stage2"]["train"]["crop"] = 8
    params["evaluate"]["pairs"] = 14
    for name in ("photos", "paintings"):
        (root / name).mkdir(parents=True)
        for place, path in enumerate(sorted((SAMPLE / name).glob("*.jpg"))[:16]):
            stem = f"{place:02}" if place < 14 else path.stem
            shutil.copy(path, root / name / f"{stem}{'.jpeg' if name == 'photos' else '.jpg'}")
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    return Project(root)


def prepared(project: Project) -> Project:
    for domain in DOMAINS:
        prepare.run(project, domain, workers=1)
    return project


def split(project: Project, name: Split) -> list[PackedPictures]:
    return [PackedPictures(project.prepared(domain), name) for domain in DOMAINS]


def test_unpaired_the_pairs_are_drawn_by_the_seed_and_stay(tmp_path):
    project = prepared(project_of(tmp_path, val_share=0.2, test_share=0.3))
    pair.run(project)
    assert sorted(path.name for path in (tmp_path / "data" / "pairs").iterdir()) == ["test.csv", "val.csv"]
    for name, count in (("val", 24), ("test", 14)):
        contents, styles = split(project, name)
        count = min(count, len(contents) * len(styles))  # each pair once
        expected = held_out_pairs(len(contents), len(styles), count, seed=0)
        assert read_pairs(project.pairs(name), contents, styles) == expected
    before = {path: path.read_bytes() for path in (tmp_path / "data" / "pairs").iterdir()}
    pair.run(project)
    assert {path: path.read_bytes() for path in (tmp_path / "data" / "pairs").iterdir()} == before
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["pairs", "prepared"]


def test_paired_the_pairs_are_the_partners_and_names_without_one_are_listed(tmp_path, caplog):
    project = project_of(tmp_path, paired=True, val_share=0.3, test_share=0.3, max_rejected_share=0.2)
    (tmp_path / "paintings" / "03.jpg").write_bytes(b"broken")
    shutil.copy(tmp_path / "paintings" / "04.jpg", tmp_path / "paintings" / "05.jpg")
    pair.run(prepared(project))
    for name in ("val", "test"):
        contents, styles = split(project, name)
        pairs = read_pairs(project.pairs(name), contents, styles)
        stems = [(Path(contents.files[c]).stem, Path(styles.files[s]).stem) for c, s in pairs]
        assert stems
        assert all(content == style for content, style in stems)
        assert len(set(stems)) == len(stems)
    with (tmp_path / "data" / "pairs" / "unpaired.csv").open(newline="") as file:
        rows = {(row["domain"], row["file"]): row["reason"] for row in csv.DictReader(file)}
    alone = [("content", "03.jpeg"), ("content", "05.jpeg")]
    alone += [("content", path.name) for path in sorted((tmp_path / "photos").iterdir())[14:]]
    alone += [("style", path.name) for path in sorted((tmp_path / "paintings").iterdir())[14:]]
    assert sorted(rows) == sorted(alone)
    assert rows["content", "03.jpeg"].startswith("its partner was set aside: not a JPEG")
    assert rows["content", "05.jpeg"] == "its partner is the same picture as 04.jpg"
    assert rows[alone[-1]] == "no picture of this name in data.content"
    first, *said = caplog.records[-1].getMessage().splitlines()
    assert "6 pictures" in first
    assert str(tmp_path / "data" / "pairs" / "unpaired.csv") in first
    assert any("'03.jpeg'" in line for line in said)


def test_only_the_first_ten_names_are_said(tmp_path, caplog):
    project = project_of(tmp_path, paired=True, val_share=0.3, test_share=0.3)
    for place in range(3):
        path = sorted((tmp_path / "photos").iterdir())[place]
        path.rename(path.with_name(f"x\n{place}.jpeg"))
    for path in sorted((SAMPLE / "photos").glob("*.jpg"))[20:28]:
        shutil.copy(path, tmp_path / "photos")
    pair.run(prepared(project))
    said = caplog.records[-1].getMessage().splitlines()
    assert "18 pictures" in said[0]
    assert len(said) == 12
    assert "8 more" in said[-1]


def test_paired_without_a_common_name_is_a_sentence(tmp_path):
    project = project_of(tmp_path, paired=True, val_share=0.3, test_share=0.3)
    for path in list((tmp_path / "photos").iterdir()):
        path.rename(path.with_name(f"photo {path.name}"))
    prepared(project)
    with pytest.raises(UserError) as error:
        pair.run(project)
    assert "'train'" in error.value.fault
    assert "'photo " in error.value.fault
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["prepared"]


def test_one_single_painting_is_paired_with_every_photograph(tmp_path):
    project = prepared(project_of(tmp_path, style="paintings/00.jpg", val_share=0.2, test_share=0.3))
    pair.run(project)
    for name in SPLITS[1:]:
        contents, styles = split(project, name)
        pairs = read_pairs(project.pairs(name), contents, styles)
        assert {content for content, _ in pairs} == set(range(len(contents)))
        assert {style for _, style in pairs} == {0}


def test_without_prepared_or_held_out_pictures_it_is_a_sentence(tmp_path):
    project = project_of(tmp_path, val_share=0.0, test_share=0.3)
    with pytest.raises(UserError, match="quantart prepare"):
        pair.run(project)
    with pytest.raises(UserError) as error:
        pair.run(prepared(project))
    assert "'val'" in error.value.fault
    assert "data.val_share" in error.value.remedy
    assert not (tmp_path / "data" / "pairs").exists()


def test_no_picture_is_paired_with_itself_where_both_domains_are_one_folder(tmp_path):
    project = prepared(project_of(tmp_path, style="photos", val_share=0.3, test_share=0.3))
    pair.run(project)
    contents, styles = split(project, "test")
    assert list(contents.sha256) == list(styles.sha256)
    pairs = read_pairs(project.pairs("test"), contents, styles)
    assert pairs
    assert not [place for place in pairs if contents.sha256[place[0]] == styles.sha256[place[1]]]
