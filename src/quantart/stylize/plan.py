"""What a command paints: the pictures that its arguments name, and the file that each result goes to."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quantart.errors import UserError
from quantart.images.arrays import WRITTEN_FORMATS
from quantart.images.kinds import FORMATS, is_picture_file
from quantart.machine.names import FileNames
from quantart.machine.walk import walk
from quantart.vocabulary.pictures import EXTENSIONS

GRID_CELLS = 400  # most pictures in one grid; further contents go to further grids
STEM_BYTES = 100  # of each of the two names in an output's name: file systems allow 255 bytes in all


class Plan(NamedTuple):
    """Contents by styles, and where the painted pictures go."""

    contents: list[Path]
    styles: list[Path]
    outputs: list[list[Path]]  # for each content, one for each style
    grids: list[Path]  # none where there is one style
    grid_rows: int  # contents in each grid
    skip_existing: bool  # leave what is there, or is made by another process with the same plan


def make_plan(
    contents: Sequence[str], styles: Sequence[str], out: Path, *, force: bool = False, skip_existing: bool = False
) -> Plan:
    """Find the pictures and name the outputs, before any work starts.

    Args:
        contents, styles: files, folders (searched recursively, links followed) and patterns such as `photos/*.jpg`.
        out: a folder, which need not exist; for one content and one style it may be a picture's file name.
        force: outputs that exist are overwritten.
        skip_existing: outputs that exist are left, see `Plan`.

    Raises:
        UserError: an argument names nothing, `out` fits neither use, or a file exists already.
    """
    if force and skip_existing:
        raise UserError("--force and --skip-existing contradict each other", "give one of them")
    content_files, style_files = _find_pictures(contents, out), _find_pictures(styles, out)
    grid_rows = max(1, GRID_CELLS // (len(style_files) + 1))
    pairs = len(content_files) * len(style_files)
    if out.suffix.lower() in EXTENSIONS and not out.is_dir():
        if pairs > 1:
            raise UserError(f"--out {out}: one file's name, for {pairs} pictures", "give a folder")
        if out.suffix.lower() not in WRITTEN_FORMATS:
            raise UserError(f"{out}: pictures are written as {', '.join(WRITTEN_FORMATS)}, not {out.suffix}")
        if not out.parent.is_dir():
            raise UserError(f"{out}: the folder {out.parent} does not exist")
        outputs: list[list[Path]] = [[out]]
        grids: list[Path] = []
    elif out.exists() and not out.is_dir():
        raise UserError(f"--out {out}: is neither a folder nor named as a picture ({', '.join(WRITTEN_FORMATS)})")
    else:
        outputs, grids = _named(content_files, style_files, grid_rows, out)
    taken = [path for path in [*(path for row in outputs for path in row), *grids] if os.path.lexists(path)]
    if taken and not (force or skip_existing):
        which = f"{taken[0]}: exists" if len(taken) == 1 else f"{taken[0]} and {len(taken) - 1} more: exist"
        raise UserError(f"{which} already", "give --skip-existing to go on, --force to overwrite, or another --out")
    return Plan(content_files, style_files, outputs, grids, grid_rows, skip_existing)


def _find_pictures(arguments: Sequence[str], out: Path) -> list[Path]:
    """The files that arguments name, each once: in the arguments' order, sorted within folders and patterns.

    A file named by itself counts whatever it is. Folders and patterns are searched for pictures; `out` is left out when
    a folder above it is searched.
    """
    found: dict[Path, Path] = {}
    for argument in arguments:
        path = FileNames().on_disk(Path(argument))
        if path.exists():
            matches = [path]
        elif glob.has_magic(argument):
            matches = sorted(map(Path, glob.glob(os.path.expanduser(argument), recursive=True)))
            matches = [match for match in matches if match.is_dir() or is_picture_file(match)]
        else:
            raise UserError(f"{argument}: no such file or folder")
        files = [file for match in matches for file in (_below(match, out) if match.is_dir() else [match])]
        if not files:
            raise UserError(f"{argument}: no picture there ({', '.join(FORMATS)})")
        for file in files:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _below(folder: Path, without: Path) -> list[Path]:
    """Pictures in a folder and below it, except hidden ones and those in `without`."""
    return sorted(filter(is_picture_file, walk(folder, without)))


def _named(
    contents: list[Path], styles: list[Path], grid_rows: int, folder: Path
) -> tuple[list[list[Path]], list[Path]]:
    """Outputs `<content>_<style>.png` and grids; equal names get a number, except the first."""
    taken: set[str] = set()

    def free(stem: str) -> Path:
        name, number = stem, 1
        while name.casefold() in taken:  # on some file systems crab.png and Crab.png are one file
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        return folder / f"{name}.png"

    grids = [free("grid") for _ in range(0, len(contents), grid_rows)] if len(styles) > 1 else []
    return [[free(f"{_stem(content)}_{_stem(style)}") for style in styles] for content in contents], grids


def _stem(file: Path) -> str:
    return os.fsencode(file.stem)[:STEM_BYTES].decode("utf8", "ignore")
