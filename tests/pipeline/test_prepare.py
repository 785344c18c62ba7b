"""The stage `prepare` in a project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.pipeline import prepare
from quantart.project import Project

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project of six photographs and five paintings beside it."""
    params = from_scratch()
    params["data"] |= {"content": "photos", "style": str(tmp_path / "paintings"), "val_share": 0.2, "test_share": 0.2}
    root = tmp_path / "project"
    root.mkdir()
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    for folder, name, count in ((root, "photos", 6), (tmp_path, "paintings", 5)):
        (folder / name).mkdir()
        for path in sorted((ROOT / "data" / "sample" / name).glob("*.jpg"))[:count]:
            shutil.copy(path, folder / name)
    return Project(root)


def test_each_domain_goes_to_its_folder(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the project's folder counts, not the one one is in
    assert prepare.run(project, "content").kept == 6
    assert prepare.run(project, "style").kept == 5
    pictures = PackedPictures(project.root / "data" / "prepared" / "style", "train")
    assert set(pictures.files) < {path.name for path in (tmp_path / "paintings").iterdir()}
    assert pictures.short_side == 144


def test_a_missing_folder_names_the_key(project):
    shutil.rmtree(project.root / "photos")
    with pytest.raises(UserError, match=r"^data\.content: .*photos: "):
        prepare.run(project, "content")


def test_wrong_parameters_stop_before_any_work(project):
    text = (project.root / "params.yaml").read_text()
    (project.root / "params.yaml").write_text(text.replace("short_side: 144", "short_side: 100"))
    with pytest.raises(UserError, match=r"short_side 100 is smaller than resolution 128"):
        prepare.run(project, "content")
    assert not (project.root / "data").exists()
