"""Python and packages against what the project asks for."""

from __future__ import annotations

from pathlib import Path

from quantart.doctor import State
from quantart.doctor.packages import check_lock, check_packages, check_python


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_another_python_fails(project: Path) -> None:
    assert check_python(project).state is State.ok
    change(project / "pyproject.toml", 'requires-python = ">=3.11"', 'requires-python = ">=4"')
    row = check_python(project)
    assert (row.state, row.found.endswith(", not >=4")) == (State.fails, True)


def test_a_missing_and_an_old_package_are_named(project: Path) -> None:
    assert check_packages(project).state is State.ok
    change(project / "pyproject.toml", '"numpy>=2"', '"numpy>=99", "no-such-package-here"')
    row = check_packages(project)
    assert row.state is State.fails
    assert ", not >=99" in row.found
    assert "no-such-package-here is missing" in row.found
    assert "make setup" in row.remedy


def test_outside_of_the_project_the_installed_package_says_what_it_needs() -> None:
    assert check_python(None).state is State.ok
    assert check_packages(None).state is State.ok


def test_somebody_elses_pyproject_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nrequires-python = ">=4"\n')
    assert check_python(tmp_path).state is State.ok


def test_versions_that_differ_from_the_lock_are_a_warning(project: Path) -> None:
    lock = project / "requirements.lock"
    lock.write_text("pytest==0.1\nno-such-package-here==1\nother-system==1 ; sys_platform == 'no'\n# remark\n")
    row = check_lock(project)
    assert row.state is State.warning
    assert "2 of 2" in row.found
    assert "pytest is " in row.found
    assert "no-such-package-here" in row.found
    lock.unlink()
    assert check_lock(project).state is State.ok
