"""A project for one's own pictures, made of what the package carries: parameters, pipeline, presets, git and DVC."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from pathlib import Path

from quantart.data.sources import find_pictures
from quantart.errors import UserError
from quantart.machine.whole import remove, write_whole
from quantart.params.file import as_yaml
from quantart.vocabulary.names import Domain

FILES = Path(__file__).with_name("files")
"""Links to the repository's own files, which a wheel holds as files; under these names git and DVC pass them over."""
PLACES = {
    "params.yaml": "params.yaml",
    "pipeline.yaml": "dvc.yaml",
    "gitignore": ".gitignore",
    "dvcignore": ".dvcignore",
    "dvc-config": ".dvc/config",
    "dvc-gitignore": ".dvc/.gitignore",
}
"""Where each of them goes in a project; `presets` keeps its name."""
KEPT = {".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore"}
"""What may be there already, as in a new repository."""
COMMENTS = 35  # column of params.yaml in which they begin
SHOWN = 3  # of the files that are there already, in a message
FOLDERS: dict[Domain, str] = {"content": "data/photos", "style": "data/paintings"}
CODE = (
    "      - src/quantart\n",
    "    always_changed: true  # the installed quantart may be another than the last time\n",
)
"""What the stage `code` depends on, in the repository and elsewhere."""


def start_project(folder: Path, content: Path | None = None, style: Path | None = None) -> str:
    """Make a project of a folder, new or not, and say what comes next; after an error everything is as it was.

    Args:
        content, style: photographs and paintings, in any form that `find_pictures` takes; they stay where they are and
            are named in `params.yaml`. None: an empty folder in the project.

    Raises:
        UserError: a file of the project is there already or can't be written, or there are no such pictures.
    """
    folder = folder.absolute()
    if shutil.which("git") is None:
        raise UserError("git: not installed", "install it: DVC needs it")
    given: dict[Domain, Path | None] = {"content": content, "style": style}
    named = {domain: _named(source, folder) if source else FOLDERS[domain] for domain, source in given.items()}
    texts = _texts(named)
    kept = sorted(place for place in KEPT if os.path.lexists(folder / place))
    if taken := [place for place in texts if place not in KEPT and os.path.lexists(folder / place)]:
        shown = ", ".join(taken[:SHOWN]) + (f" and {len(taken) - SHOWN} more" if len(taken) > SHOWN else "")
        raise UserError(f"{folder}: {shown}: there already", "nothing was written; name another folder")
    with ExitStack() as undo:
        try:
            for domain, place in FOLDERS.items():
                if named[domain] == place:
                    _make_folder(folder / place, undo)
            for place in texts.keys() - set(kept):
                _make_folder((folder / place).parent, undo)
                undo.callback(remove, folder / place)
                write_whole(folder / place, texts[place].encode())
            _start_git(folder, undo)
        except OSError as error:
            raise UserError(f"{error.filename}: cannot be made: {error.strerror}") from None
        undo.pop_all()
    return "\n".join([*_notes(folder, kept, texts), _next(folder, named)])


def _named(source: Path, folder: Path) -> str:
    """A source of pictures as `params.yaml` of the project in `folder` names it."""
    find_pictures(source)
    source = Path(os.path.abspath(source))
    return source.relative_to(folder).as_posix() if source.is_relative_to(folder) else source.as_posix()


def _texts(named: dict[Domain, str]) -> dict[str, str]:
    """The project's files: their places and what is in them."""
    files = {place: FILES / name for name, place in PLACES.items()}
    files |= {f"presets/{preset.name}": preset for preset in sorted((FILES / "presets").glob("*.yaml"))}
    texts = {place: file.read_text(encoding="utf8") for place, file in files.items()}
    for domain, source in named.items():
        line = f"  {domain}: {as_yaml(source)}".ljust(COMMENTS - 1) + " "
        replaced = re.sub(rf"(?m)^  {domain}: [^#\n]*", line.replace("\\", r"\\"), texts["params.yaml"], count=1)
        texts["params.yaml"] = replaced
    texts["dvc.yaml"] = texts["dvc.yaml"].replace(*CODE)
    return texts


def _make_folder(folder: Path, undo: ExitStack) -> None:
    for each in reversed([folder, *folder.parents]):
        if not each.is_dir():
            each.mkdir()
            undo.callback(remove, each)


def _start_git(folder: Path, undo: ExitStack) -> None:
    """A repository, unless the folder is in one."""
    inside = subprocess.run(["git", "-C", folder, "rev-parse", "--git-dir"], capture_output=True).returncode == 0
    if inside or (folder / ".git").exists():
        return
    undo.callback(remove, folder / ".git")
    done = subprocess.run(["git", "-C", folder, "init", "--quiet"], capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"git init: {' '.join(done.stderr.split())}")


def _notes(folder: Path, kept: list[str], texts: dict[str, str]) -> list[str]:
    """A line for each list of ignored files that is as it was and lacks something."""
    notes = []
    for place in kept:
        there = (folder / place).read_text(encoding="utf8", errors="replace").splitlines()
        lacking = [line for line in texts[place].splitlines() if line not in there and not line.startswith("#")]
        if lacking and place.endswith("ignore"):
            notes.append(f"{folder / place} stays as it is; add to it what a project has: {' '.join(lacking)}")
    return notes


def _next(folder: Path, named: dict[Domain, str]) -> str:
    lines = [f"{folder} is a project for photographs in {named['content']} and paintings in {named['style']}."]
    if empty := [place for domain, place in FOLDERS.items() if named[domain] == place]:
        lines.append(f"Put your pictures into {' and '.join(empty)}.")
    return "\n".join([*lines, "Then, in that folder: `quantart doctor`, `dvc repro`."])
