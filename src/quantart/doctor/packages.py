"""Python and the installed packages, compared with what the project requires."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from quantart.doctor import Finding, fails, ok, warning

NAME = "quantart"
SHOWN = 5  # faults


def check_python(root: Path | None) -> Finding:
    required, _ = _required(root)
    found = platform.python_version()
    if not SpecifierSet(required).contains(found, prereleases=True):
        return fails(f"{found}, not {required}", f"set PYTHON to a Python {required}, then `make setup`")
    return ok(f"{found} ({required})")


def check_packages(root: Path | None) -> Finding:
    """The packages that `pyproject.toml` requires, or outside of this project those that the installed package does."""
    _, requirements = _required(root)
    needed, faults, said = _compared(requirements)
    if faults:
        return fails(said, "`make setup`, or `pip install -e .`")
    return ok(f"all {needed} that {NAME} requires")


def check_lock(root: Path) -> Finding:
    """The versions in `requirements.lock`, with which the project was tested."""
    lock = root / "requirements.lock"
    if not lock.is_file():
        return ok("no requirements.lock here")
    lines = (line.strip() for line in lock.read_text(encoding="utf8").splitlines())
    needed, faults, said = _compared([Requirement(line) for line in lines if line and not line.startswith("#")])
    if faults:
        return warning(f"{faults} of {needed} differ: {said}", "`make setup`")
    return ok(f"all {needed} of requirements.lock")


def _required(root: Path | None) -> tuple[str, list[Requirement]]:
    """Python's versions and the packages; the project's own file may be newer than the installed package."""
    if root and (pyproject := root / "pyproject.toml").is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf8")).get("project", {})
        if project.get("name") == NAME:
            return project["requires-python"], [Requirement(each) for each in project["dependencies"]]
    installed = metadata.metadata(NAME)
    return installed["Requires-Python"], [Requirement(each) for each in metadata.requires(NAME) or []]


def _compared(requirements: list[Requirement]) -> tuple[int, int, str]:
    """How many packages are needed here, how many of them are missing or of another version, and the first of these."""
    needed = [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    faults = []
    for each in needed:
        try:
            version = metadata.version(each.name)
            if not each.specifier.contains(version, prereleases=True):
                faults.append(f"{each.name} is {version}, not {each.specifier}")
        except metadata.PackageNotFoundError:
            faults.append(f"{each.name} is missing")
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return len(needed), len(faults), ", ".join(faults[:SHOWN]) + more
