"""Asking before the work whether its results can be kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from quantart.errors import UserError
from quantart.machine.disk import check_writable
from quantart.project import Project

from ..unprivileged import open_folder, without_privileges


def test_a_writable_folder_passes_and_is_left_unchanged(tmp_path: Path) -> None:
    check_writable(tmp_path)
    check_writable(tmp_path / "not" / "made" / "yet")
    assert list(tmp_path.iterdir()) == []


def test_a_read_only_folder_is_named_also_for_folders_to_be_made_in_it() -> None:
    with open_folder() as folder:
        folder.chmod(0o555)
        with without_privileges():
            for place in (folder, folder / "models" / "stage1_base"):
                with pytest.raises(UserError) as error:
                    check_writable(place)
                assert error.value.fault.startswith(f"{folder}: ")
                assert "Permission denied" in error.value.fault


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").touch()
    with pytest.raises(UserError) as error:
        check_writable(tmp_path / "models")
    assert str(tmp_path / "models") in error.value.fault
    assert "Not a directory" in error.value.fault


def test_the_read_only_folder_of_a_project_is_named() -> None:
    with open_folder() as root:
        root.chmod(0o777)
        (root / "runs").mkdir(mode=0o555)
        with without_privileges(), pytest.raises(UserError, match=f"^{root}/runs: "):
            Project(root).check_writable()
