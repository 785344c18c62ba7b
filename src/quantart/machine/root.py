"""Where a project really is: DVC runs queued experiments in a copy of it."""

from __future__ import annotations

from pathlib import Path


def real_root(project: Path) -> Path:
    """The project's absolute root; for the temporary copy that a queued DVC experiment runs in, the original's."""
    root, _, _ = project.resolve().as_posix().partition("/.dvc/tmp/exps/")
    return Path(root)
