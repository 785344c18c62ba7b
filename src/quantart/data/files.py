"""One picture of a source: where its bytes are and what it is called in tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

SHARD = ".tar"

# a spreadsheet takes a cell that begins so for a formula, some of them the full-width signs too
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


@dataclass(frozen=True)
class PictureFile:
    """A picture that a source names.

    Attributes:
        name: its path inside the source, as `table_name` writes it.
        path: the file that holds its bytes.
        offset, size: its part of that file in bytes; size None: all of it.
        fault: why it can't be used, known without opening it; None: nothing is known against it.
    """

    name: str
    path: Path
    offset: int = 0
    size: int | None = None
    fault: str | None = None


def table_name(name: str) -> str:
    """A relative path as it is written into tables: valid UTF-8 and no formula, but still a path."""
    name = name.encode("utf8", "backslashreplace").decode("utf8")
    return f"./{name}" if name.startswith(FORMULA_STARTS) else name


def leads_outside(name: str) -> str | None:
    """Why a name from a list, table or shard is no path below its root; None: it is one."""
    path = PurePosixPath(name)
    if path.is_absolute():
        return "an absolute path; names are relative to the pictures' root"
    if ".." in path.parts:
        return "leads out of its folder with `..`"
    return None


def pair_name(file: str) -> str:
    """What partners have in common: the path inside the source, or inside its shard, without the ending.

    `a/1.jpg` and `a/1.png` share a name, `train-0.tar/7.jpg` and `part.tar/7.png` do, `a/1.jpg` and `b/1.jpg` do not.
    """
    parts = PurePosixPath(file).with_suffix("").parts
    shards = [place for place, part in enumerate(parts[:-1], start=1) if part.lower().endswith(SHARD)]
    return "/".join(parts[shards[-1] :] if shards else parts)
