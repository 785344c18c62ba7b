"""What a command paints: the pictures that its arguments name, and the file that each result goes to."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from quantart.errors import UserError
from quantart.images.arrays import WRITTEN_FORMATS
from quantart.images.decode import is_animated, named, read_file
from quantart.images.kinds import FORMATS, is_picture_file
from quantart.machine.names import FileNames
from quantart.machine.walk import walk
from quantart.stylize.sizes import MAX_PIXELS
from quantart.vocabulary.pictures import EXTENSIONS, VIDEOS, WRITTEN_VIDEOS

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


class Clip(NamedTuple):
    """A video and the painting in whose manner it is painted."""

    video: Path
    style: Path
    output: Path


def find_clip(
    contents: Sequence[str], styles: Sequence[str], out: Path, *, force: bool = False, refine: int = 0
) -> Clip | None:
    """The video or animated GIF that is named to be painted; None where contents are pictures.

    Args:
        out: a folder, in which it becomes `<video>_<painting>.mp4`, or a file of `WRITTEN_VIDEOS`.
        force: an output that exists is overwritten.

    Raises:
        UserError: it is not the only content, there are several paintings, it is to be refined, or `out` is not right.
    """
    if not (found := [each for each in map(Path, contents) if _is_video(each)]):
        return None
    (video, *_), style = found, Path(styles[0])
    if len(contents) > 1 or len(styles) > 1 or style.is_dir():
        raise UserError(f"{video}: a video is painted by itself, in the manner of one painting", "name one of each")
    if refine:
        raise UserError(f"--refine {refine}: refines pictures, not videos such as {video}", "leave it out")
    if (kind := out.suffix.lower()) in {*EXTENSIONS, *VIDEOS} and not out.is_dir():
        if kind not in WRITTEN_VIDEOS:
            raise UserError(f"{out}: videos are written as {', '.join(WRITTEN_VIDEOS)}, not {out.suffix}")
        output = out
    else:
        output = out / f"{_stem(video)}_{_stem(style)}.mp4"
    if os.path.lexists(output) and not force:
        raise UserError(f"{output}: exists already", "give --force to overwrite, or another --out")
    return Clip(video, style, output)


def _is_video(file: Path) -> bool:
    if file.suffix.lower() != ".gif" or not file.is_file():
        return file.suffix.lower() in VIDEOS
    with named(file):
        return is_animated(read_file(file), max_pixels=MAX_PIXELS)


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
