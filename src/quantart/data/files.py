"""One picture of a source: where its bytes are, and its name in tables."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from quantart.machine.names import same_name

SHARD = ".tar"

# spreadsheets take a cell that begins with one of these for a formula; some accept the full-width signs too
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True)
class PictureFile:
    """A picture that a source names: its bytes are `size` bytes (None: all) of the file `path`, from `offset` on."""

    name: str
    """Its path inside the source, as `table_name` writes it."""
    path: Path
    offset: int = 0
    size: int | None = None
    fault: str | None = None
    """Why it can't be used, where that is known without opening it."""


def table_name(name: str) -> str:
    """A relative path as written to tables: valid UTF-8 that no spreadsheet takes for a formula, but still a path."""
    name = name.encode("utf8", "backslashreplace").decode("utf8")
    return f"./{name}" if name.startswith(FORMULA_STARTS) else name


def inside(name: str) -> str | None:
    """A name from an archive as a path below its root: `/a/../b.jpg` as `b.jpg`; None where it leads out."""
    path = posixpath.normpath(name.lstrip("/"))
    return None if path == ".." or path.startswith("../") else path


def pair_name(file: str) -> str:
    """The name that partners share: the path inside the source, or inside its shard, without the file's ending
    and however its accents are coded.

    `a/1.jpg` and `a/1.png` share one, so do `train-0.tar/7.jpg` and `part.tar/7.png`; `a/1.jpg` and `b/1.jpg` do not.
    """
    parts = PurePosixPath(same_name(file)).with_suffix("").parts
    shards = [place for place, part in enumerate(parts[:-1], start=1) if part.lower().endswith(SHARD)]
    return "/".join(parts[shards[-1] :] if shards else parts)
