"""Python and the installed packages, compared with what the project requires."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from quantart.doctor.finding import Finding, fails, ok, warning

NAME = "quantart"
SHOWN = 5


def check_python(root: Path | None) -> Finding:
    required, _ = _required(root)
    found = platform.python_version()
    if not SpecifierSet(required).contains(found, prereleases=True):
        return fails(f"{found}, not {required}", f"set PYTHON to a Python {required}, then `make setup`")
    return ok(f"{found} ({required})")


def check_packages(root: Path | None) -> Finding:
    """The packages that `pyproject.toml` requires, or outside of this project those that the installed package does."""
    _, requirements = _required(root)
    needed = [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    faults = [fault for each in needed if (fault := _fault(each))]
    if faults:
        return fails(_some(faults), "`make setup`, or `pip install -e .`")
    return ok(f"all {len(needed)} that {NAME} requires")


def check_lock(root: Path) -> Finding:
    """The versions in `requirements.lock`, with which the project was tested."""
    lock = root / "requirements.lock"
    if not lock.is_file():
        return ok("no requirements.lock here")
    lines = (line.strip() for line in lock.read_text(encoding="utf8").splitlines())
    locked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = [each for each in locked if each.marker is None or each.marker.evaluate()]
    faults = [fault for each in here if (fault := _fault(each))]
    if faults:
        return warning(f"{len(faults)} of {len(here)} differ: {_some(faults)}", "`make setup`")
    return ok(f"all {len(here)} of requirements.lock")


def _required(root: Path | None) -> tuple[str, list[Requirement]]:
    """Python's versions and the packages; the project's own file may be newer than the installed package."""
    pyproject = root / "pyproject.toml" if root else None
    if pyproject is not None and pyproject.is_file():
        project = tomllib.loads(pyproject.read_text(encoding="utf8")).get("project", {})
        if project.get("name") == NAME:
            return project["requires-python"], [Requirement(each) for each in project["dependencies"]]
    installed = metadata.metadata(NAME)
    return installed["Requires-Python"], [Requirement(each) for each in metadata.requires(NAME) or []]


def _fault(requirement: Requirement) -> str | None:
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return f"{requirement.name} is missing"
    if requirement.specifier.contains(version, prereleases=True):
        return None
    return f"{requirement.name} is {version}, not {requirement.specifier}"


def _some(faults: list[str]) -> str:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return ", ".join(faults[:SHOWN]) + more
