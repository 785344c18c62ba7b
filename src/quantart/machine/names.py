"""File names that look alike: Macs write é as two code points (NFD), everybody else as one (NFC)."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from unicodedata import normalize

from quantart.errors import UserError


def same_name(name: str) -> str:
    """What names that differ only in how their accents are coded have in common (NFC)."""
    return normalize("NFC", name)


class FileNames:
    """Finds files whose names are coded otherwise on disk; remembers the folders that it has listed."""

    def __init__(self) -> None:
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def on_disk(self, path: Path) -> Path:
        """`path` if it is there, else what has the `same_name`, else `path`; UserError where two files have it."""
        if os.path.lexists(path) or path.parent == path:
            return path
        parent = self.on_disk(path.parent)
        found = self._names(parent).get(same_name(path.name), [path.name])
        if len(found) > 1:
            fault = f"{path.name}: {len(found)} files have this name and differ only in how its accents are coded"
            raise UserError(fault, "rename one of them")
        return parent / found[0]

    def _names(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self._listed:
            names = self._listed[folder] = {}
            with suppress(OSError, ValueError):  # no folder, or one that can't be listed: nothing is found there
                for name in os.listdir(folder):
                    names.setdefault(same_name(name), []).append(name)
        return self._listed[folder]
