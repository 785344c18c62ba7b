"""Whether files can be made in a folder: checked before the work, not found out after it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from quantart.errors import UserError


def check_writable(folder: Path) -> None:
    """Check that files can be made in `folder`, or in its nearest parent that exists; none is left behind.

    Raises:
        UserError: it is read-only, belongs to somebody else, is a file, or its disk is full.
    """
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise UserError(
            f"{there}: no file can be made in it ({error.strerror or error})",
            "make it writable for this user, or move the project to a folder that is",
        ) from None
