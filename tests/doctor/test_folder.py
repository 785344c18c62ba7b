"""Parameters, permissions, git and DVC's cache of a project."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from quantart.doctor import State
from quantart.doctor.folder import check_dvc, check_git, check_params, check_permission
from quantart.errors import UserError

from ..unprivileged import open_folder, without_privileges
from .conftest import git


def test_a_project_in_order(project: Path) -> None:
    rows = [check(project) for check in (check_params, check_permission, check_dvc, check_git)]
    assert [row.state for row in rows] == [State.ok] * 4
    assert f"{project}/.dvc/cache" in rows[2].found


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("n_embed:", "n_embedd:", "model.n_embedd: unknown key"),
        ("seed: 0", "seed: zero", "seed = 'zero'"),
        ("short_side: 256", "short_side: 100", "short_side 100 is smaller than resolution 256"),
        ("seed: 0", "seed: [", "not valid YAML"),
    ],
)
def test_broken_parameters_fail_and_are_named(project: Path, old: str, new: str, said: str) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace(old, new, 1))
    row = check_params(project)
    assert (row.state, said in row.found) == (State.fails, True), row
    assert "`quantart preset list`" in row.remedy


def test_pictures_that_are_not_there_fail(project: Path) -> None:
    (project / "data" / "sample" / "paintings" / "1.jpg").unlink()
    (project / "data" / "sample" / "paintings").rmdir()
    row = check_params(project)
    assert row.state is State.fails
    assert row.found.startswith("data.style: data/sample/paintings ")
    assert "data.style" in row.remedy


def test_a_folder_whose_accents_are_coded_otherwise_is_said_to_be_there(project: Path) -> None:
    (project / "Cafe\u0301").mkdir()
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("data/sample/photos", "Caf\u00e9"))
    row = check_params(project)
    assert (row.state, "accents of Caf\u00e9 are coded otherwise" in row.found) == (State.fails, True)
    assert "`ls`" in row.remedy
    path.write_text(
        path.read_text()
        .replace("Caf\u00e9", "list.txt", 1)
        .replace("content_table: null", "content_table: {root: Caf\u00e9}")
    )
    (project / "list.txt").touch()
    (project / "Cafe\u0301" / "1.jpg").touch()
    git(project, "add", ".")
    assert check_params(project).state is State.ok  # DVC is not asked for it


@pytest.mark.parametrize("tracked", ["", "data/mine.dvc", "data/mine/1.jpg", "data.dvc"])
def test_pictures_that_no_copy_of_the_project_would_have_are_named(tracked: str, project: Path) -> None:
    (project / "data" / "mine").mkdir()
    (project / "data" / "mine" / "1.jpg").touch()
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("data/sample/photos", "data/mine"))
    if tracked:
        (project / tracked).touch()
        git(project, "add", tracked)
    row = check_params(project)
    assert row.state is (State.ok if tracked else State.warning)
    assert ("`dvc add data/mine`" in row.remedy) != bool(tracked)
    path.write_text(path.read_text().replace("data/mine", str(project / "data" / "mine")))
    assert check_params(project).state is State.ok


def test_the_folder_that_a_list_names_pictures_in_is_looked_at_too(project: Path) -> None:
    path = project / "params.yaml"
    text = path.read_text().replace("content: data/sample/photos", "content: list.txt")
    path.write_text(text.replace("content_table: null", "content_table: {root: my art}"))
    (project / "list.txt").touch()
    git(project, "add", "list.txt")
    row = check_params(project)
    assert (row.state, row.found) == (State.fails, "data.content_table.root: my art does not exist")
    (project / "my art").mkdir()
    row = check_params(project)
    assert (row.state, row.found.split(":")[0]) == (State.warning, "data.content_table.root")
    assert "`dvc add 'my art'`" in row.remedy


def test_a_folder_that_is_closed_is_named() -> None:
    with open_folder() as root:
        root.chmod(0o777)
        (root / "models").mkdir(mode=0o555)
        with without_privileges(), pytest.raises(UserError) as caught:
            check_permission(root)
    assert caught.value.fault.startswith(f"{root}/models: ")
    assert "Permission denied" in caught.value.fault
    assert caught.value.remedy


def test_git_is_asked_for_repository_commit_and_changes(project: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    row = check_git(tmp_path / "bare")
    assert (row.state, row.remedy) == (State.fails, f"`git -C {tmp_path / 'bare'} init`")
    git(tmp_path / "bare", "init", "--quiet")
    row = check_git(tmp_path / "bare")
    assert (row.state, row.remedy) == (State.warning, "`git commit`")
    (project / "params.yaml").write_text("seed: 1\n")
    (project / "new.py").touch()
    row = check_git(project)
    assert (row.state, ", 2 files" in row.found) == (State.warning, True)


def test_a_repository_of_another_user_is_not_made_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    row = check_git(project)
    assert (row.state, "another user" in row.found) == (State.fails, True)
    assert f"safe.directory {project}`" in row.remedy


def test_a_broken_repository_is_not_taken_for_another_users(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    row = check_git(tmp_path)
    assert (row.state, row.remedy) == (State.fails, f"`git -C {tmp_path} init`")


def test_without_git_it_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(project))
    assert check_git(project).state is State.fails


def test_what_dvc_made_is_looked_for_in_the_cache_that_is_set(project: Path, tmp_path: Path) -> None:
    cache = tmp_path / "elsewhere"
    (project / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {cache}\n")
    made = {path: hashlib.md5(path.encode()).hexdigest() for path in ("models/a", "runs/a.json")}
    outs = [{"path": path, "md5": md5} for path, md5 in made.items()]
    (project / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": {"train": {"outs": outs}}}))
    for md5 in made.values():
        (cache / "files" / "md5" / md5[:2]).mkdir(parents=True)
        (cache / "files" / "md5" / md5[:2] / md5[2:]).touch()
    assert (check_dvc(project).state, check_dvc(project).found) == (State.ok, f"{cache}: 2 outputs")
    (cache / "files" / "md5" / made["runs/a.json"][:2] / made["runs/a.json"][2:]).unlink()
    row = check_dvc(project)
    assert row.state is State.warning
    for said in ("1 of 2", str(cache), "runs/a.json"):
        assert said in row.found


def test_a_lock_with_the_marks_of_a_merge_fails_with_the_way_out(project: Path) -> None:
    (project / "dvc.lock").write_text("schema: '2.0'\n<<<<<<< HEAD\nstages: {}\n=======\n>>>>>>> theirs\n")
    row = check_dvc(project)
    assert (row.state, row.found.startswith(f"{project}/dvc.lock: not valid YAML")) == (State.fails, True)
    assert "`git checkout --ours dvc.lock`" in row.remedy


def test_a_folder_in_which_dvcs_queue_fails_is_named(project: Path) -> None:
    odd = project.rename(project.with_name("Möbel"))
    row = check_dvc(odd)
    assert (row.state, "`dvc exp run --temp` and `--queue`" in row.found) == (State.warning, True)


def test_no_pipeline_of_dvc_fails(project: Path) -> None:
    (project / "dvc.yaml").unlink()
    assert check_dvc(project).state is State.fails


def test_a_cache_that_can_not_be_written_fails(project: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").touch()
    (project / ".dvc" / "config.local").write_text(f"[cache]\n    dir = {tmp_path / 'cache'}\n")
    row = check_dvc(project)
    assert (row.state, row.found.startswith(f"{tmp_path}/cache: ")) == (State.fails, True)
    assert "dvc cache dir --local" in row.remedy
