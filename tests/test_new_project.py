"""A new project is a clone's without the code, and whatever stops `quantart init` leaves everything as it was."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantart import new_project
from quantart.errors import UserError
from quantart.new_project import start_project
from quantart.params.file import changes, load_params
from quantart.presets import presets_of
from quantart.project import Project

ROOT = Path(__file__).parents[1]
PHOTOS, PAINTINGS = (ROOT / "data" / "sample" / name for name in ("photos", "paintings"))


def tree(folder: Path) -> dict[str, bytes]:
    """Every file and folder but git's own, with what is in it."""
    found = [path for path in folder.rglob("*") if ".git" not in path.relative_to(folder).parts]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


def refusal(*arguments: Any) -> str:
    with pytest.raises(UserError) as caught:
        start_project(*arguments)
    return str(caught.value)


def test_it_has_the_repositorys_parameters_pipeline_and_presets(tmp_path: Path) -> None:
    said = start_project(tmp_path / "a" / "mine")
    root = tmp_path / "a" / "mine"
    ours, theirs = (load_params(each / "params.yaml").model_dump() for each in (root, ROOT))
    assert [(each.key, each.new) for each in changes(theirs, ours)] == [
        ("data.content", "data/photos"),
        ("data.style", "data/paintings"),
    ]
    stages, own = (yaml.safe_load((each / "dvc.yaml").read_text())["stages"] for each in (root, ROOT))
    assert own["code"].pop("deps") == ["params.yaml", "src/quantart"]
    assert (stages["code"].pop("deps"), stages["code"].pop("always_changed")) == (["params.yaml"], True)
    assert stages == own
    assert [each.name for each in presets_of(Project(root))] == [each.name for each in presets_of(Project(ROOT))]
    for name in (".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"):
        assert (root / name).read_bytes() == (ROOT / name).read_bytes()
    assert git(root, "rev-parse", "--show-toplevel") == str(root)
    assert list((root / "data").iterdir()) != []
    assert "Put your pictures into data/photos and data/paintings." in said
    comments = [line.partition(" #")[2] for line in (root / "params.yaml").read_text().splitlines()]
    assert comments == [line.partition(" #")[2] for line in (ROOT / "params.yaml").read_text().splitlines()]


def test_it_names_the_pictures_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "mine"
    odd = root / "a: 'b' #1"
    shutil.copytree(PHOTOS, odd)
    monkeypatch.chdir(tmp_path)
    start_project(Path("mine"), Path("mine/../mine") / odd.name, PAINTINGS)
    data = load_params(root / "params.yaml").data
    assert (data.content, data.style) == (odd.name, str(PAINTINGS))
    assert not (root / "data").exists()


def test_an_existing_file_is_named_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    for name in ("dvc.yaml", "presets/open.yaml"):
        (tmp_path / name).write_text("mine")
    before = tree(tmp_path)
    said = refusal(tmp_path)
    assert said.startswith(f"{tmp_path}: dvc.yaml, presets/open.yaml: there already; nothing was written")
    assert tree(tmp_path) == before
    assert not (tmp_path / ".git").exists()
    start_project(tmp_path / "mine")
    assert re.search(
        r"mine: params.yaml, dvc.yaml, presets/_paper.yaml and \d+ more: there", refusal(tmp_path / "mine")
    )
    assert refusal(tmp_path / "dvc.yaml") == f"{tmp_path / 'dvc.yaml'}: cannot be made: File exists"


@pytest.mark.parametrize("fails", ["dvc.yaml", "git"])
def test_what_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    before = tree(tmp_path)

    def full(path: Path, data: bytes) -> None:
        if path.name == fails:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        path.write_bytes(data)

    monkeypatch.setattr(new_project, "write_whole", full)
    if fails == "git":
        monkeypatch.setenv("GIT_TEMPLATE_DIR", "/dev/null/no")
        monkeypatch.setenv("GIT_CONFIG_COUNT", "not a number")
    for folder in (tmp_path / "new" / "project", tmp_path):
        assert ("No space left" in refusal(folder)) == (fails != "git")
        assert tree(tmp_path) == before
        assert not (tmp_path / ".git").exists()


def test_in_a_repository_git_and_its_lists_stay_as_they_are(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".gitignore").write_text("/models/\n*.tmp\n")
    said = start_project(tmp_path)
    assert (tmp_path / ".gitignore").read_text() == "/models/\n*.tmp\n"
    (note,) = [line for line in said.splitlines() if line.startswith(f"{tmp_path / '.gitignore'} stays as it is")]
    assert "/mlartifacts/" in note
    assert "/models/" not in note
    assert (tmp_path / ".dvc" / "config").is_file()
    start_project(tmp_path / "inside")
    assert git(tmp_path / "inside", "rev-parse", "--show-toplevel") == str(tmp_path)


def test_pictures_that_are_not_there_are_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "mine", tmp_path / "nowhere").startswith(f"{tmp_path}/nowhere: no such folder or file")
    assert refusal(tmp_path / "mine", None, tmp_path / "empty").startswith(f"{tmp_path}/empty: no picture in it")
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_without_git_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert refusal(tmp_path / "mine") == "git: not installed; install it: DVC needs it"
    assert list(tmp_path.iterdir()) == []
