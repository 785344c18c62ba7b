"""Which parameters a stage reads beside those that it declares."""

from __future__ import annotations

import pytest

from quantart.pipeline.stages import STAGES
from quantart.project import Project
from tests.params.recording import recording


def recorded(project: Project, patch: pytest.MonkeyPatch) -> set[str]:
    """The keys that are read of any project's parameters from now on: those of `project`."""
    view, read = recording(project.params())
    patch.setattr(Project, "params", lambda self: view)
    return read


def undeclared(read: set[str], stage: str, item: str = "") -> set[str]:
    declared = STAGES[stage].keys(item)
    return {key for key in read if not any(key == each or key.startswith(f"{each}.") for each in declared)}
