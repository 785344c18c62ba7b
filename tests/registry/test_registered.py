"""Which version a project made, and what it serves by default."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.project import Project
from quantart.registry.registered import RegisteredModel, default_address, read_registered, write_registered

ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    (tmp_path / "runs").mkdir()
    return Project(tmp_path)


def test_the_version_that_the_project_made_is_served_whatever_the_alias_points_to(project: Project) -> None:
    registered = RegisteredModel("painter", "7", "challenger", "3f2a")
    write_registered(project, registered)
    assert read_registered(project) == registered
    assert default_address(project) == "models:/painter/7"


def test_before_the_first_export_it_is_the_challenger(project: Project) -> None:
    assert read_registered(project) is None
    assert default_address(project) == "models:/quantart@challenger"


@pytest.mark.parametrize("text", ["", "[1]", '{"name": "painter"}'])
def test_a_damaged_record_is_named(text: str, project: Project) -> None:
    project.link("export").write_text(text)
    with pytest.raises(
        UserError, match=r"export\.json: not the record of an export .*`quantart export` writes it anew"
    ):
        read_registered(project)
