"""Python and the installed packages, against what the project asks for."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from quantart.doctor.row import Row, fails, ok, warning

NAME = "quantart"
SHOWN = 5
INSTALL = "`make setup`, or `pip install -e .`"


def check_python(root: Path | None) -> Row:
    wanted, _ = _asked_for(root)
    found = platform.python_version()
    if not SpecifierSet(wanted).contains(found, prereleases=True):
        return fails("Python", f"{found}, not {wanted}", f"set PYTHON to one that is {wanted}, then `make setup`")
    return ok("Python", f"{found} ({wanted})")


def check_packages(root: Path | None) -> Row:
    """The packages that `pyproject.toml` names, or those of the installed package outside of its own project."""
    _, requirements = _asked_for(root)
    needed = [each for each in requirements if each.marker is None or each.marker.evaluate({"extra": ""})]
    faults = [fault for each in needed if (fault := _fault(each))]
    if faults:
        return fails("packages", _some(faults), INSTALL)
    return ok("packages", f"{len(needed)} that {NAME} needs, as it needs them")


def check_lock(root: Path) -> Row:
    """The versions of `requirements.lock`, with which the project was tested."""
    lock = root / "requirements.lock"
    if not lock.is_file():
        return ok("locked versions", "no requirements.lock here")
    lines = (line.strip() for line in lock.read_text(encoding="utf8").splitlines())
    locked = [Requirement(line) for line in lines if line and not line.startswith("#")]
    here = [each for each in locked if each.marker is None or each.marker.evaluate()]
    faults = [fault for each in here if (fault := _fault(each))]
    if faults:
        return warning("locked versions", f"{len(faults)} of {len(here)} differ: {_some(faults)}", "`make setup`")
    return ok("locked versions", f"all {len(here)} of requirements.lock")


def _asked_for(root: Path | None) -> tuple[str, list[Requirement]]:
    """Python's versions and the packages: as the project says, which an older installation of it may not know."""
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
