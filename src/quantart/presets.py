"""Presets: one small file per task under `presets/`, laid over a project's `params.yaml`.

A preset is YAML with `summary` (one line), optionally `extends` (the name of another one, which it is laid over), and
the parameters that are its own. A file whose name begins with an underscore is only there to be extended.

What a preset decides, and what stays the user's: the sections data, model, stage1, encode and stage2 *are* the task.
They come from the preset alone, so that one preset gives one training, whatever was there before; where it is silent, a
field has its default. `seed`, `evaluate` and `export` stay as they are but for the keys that the preset names.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from quantart.errors import UserError
from quantart.params import Params
from quantart.params.file import Change, as_yaml, changes, descriptions, faults, read_comments, read_mapping, render
from quantart.project import Project

TASK_SECTIONS = ("data", "model", "stage1", "encode", "stage2")


@dataclass(frozen=True)
class Preset:
    """A task's parameters, as its files have them.

    Attributes:
        summary: what it is, in one line.
        layers: file and parameters, the outermost base first, the preset's own last.
    """

    name: str
    summary: str
    layers: tuple[tuple[Path, dict[str, Any]], ...]

    @property
    def file(self) -> Path:
        return self.layers[-1][0]


@dataclass(frozen=True)
class Applied:
    """What `use_preset` did.

    Attributes:
        changes: what differs from the `params.yaml` before.
        kept: where that one is now; None: there was nothing to change, and nothing was written.
    """

    name: str
    changes: list[Change]
    kept: Path | None

    def __str__(self) -> str:
        if self.kept is None:
            return f"nothing changed: params.yaml has the values of {self.name} already"
        return "\n".join([*map(str, self.changes), f"params.yaml is now {self.name}; the one before: {self.kept}"])


def presets_of(project: Project) -> list[Preset]:
    """All presets of the project, by name.

    Raises:
        UserError: it has no `presets/`, or one of them is broken.
    """
    return [_read(path) for path in _files(project)]


def preset_table(project: Project) -> Table:
    """Name and summary of each preset.

    Raises:
        UserError: see `presets_of`.
    """
    table = Table(box=None, pad_edge=False)
    table.add_column("preset", no_wrap=True)
    table.add_column("what it is")
    for preset in presets_of(project):
        table.add_row(preset.name, escape(preset.summary))
    return table


def find_preset(project: Project, name: str) -> Preset:
    """The preset of that name.

    Raises:
        UserError: there is none (says which names are near), or it is broken.
    """
    files = {path.stem: path for path in _files(project)}
    if name not in files:
        near = difflib.get_close_matches(name, files, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(files)}"
        raise UserError(f"no preset {name!r}; {hint}")
    return _read(files[name])


def params_with(preset: Preset, current: Params) -> Params:
    """The parameters of `preset`, with what stays the user's from `current`.

    Raises:
        UserError: a key is unknown or missing, or a value can't be; one line for each fault, with its file.
    """
    merged = {name: value for name, value in current.model_dump().items() if name not in TASK_SECTIONS}
    for _, values in preset.layers:
        merged = _laid_over(merged, values)
    try:
        return Params.model_validate(merged)
    except ValidationError as error:
        lines = [f"{_origin(preset, key)}: {sentence}" for key, sentence in faults(error)]
        raise UserError("\n".join(lines)) from None


def show_preset(project: Project, name: str) -> str:
    """The whole `params.yaml` that the preset gives, as YAML; each value that differs is marked with the present one.

    Raises:
        UserError: the preset or the present params.yaml is broken.
    """
    preset, current = find_preset(project, name), project.params()
    new = params_with(preset, current)
    differing = changes(current.model_dump(), new.model_dump())
    was = {change.key: f"now {as_yaml(change.old)}" for change in differing}
    head = f"{preset.name}: {preset.summary}\n{len(differing)} values differ from {project.root / 'params.yaml'}"
    return render(new, was, head)


def use_preset(project: Project, name: str) -> Applied:
    """Write the project's `params.yaml` from the preset; what was there is kept as `params.before-<name>.yaml`.

    The comment beside a value that stays, stays; a value that changes gets the field's description. An earlier kept
    file is never overwritten: the next is `params.before-<name>-2.yaml`.

    Raises:
        UserError: the preset or the present params.yaml is broken, or the folder can't be written; nothing has changed.
    """
    preset, current = find_preset(project, name), project.params()
    new = params_with(preset, current)
    differing = changes(current.model_dump(), new.model_dump())
    if not differing:
        return Applied(name, [], None)
    path = project.root / "params.yaml"
    before = path.read_bytes()
    text = render(new, _comments(before.decode(), new, differing), _head(preset))
    try:
        kept = _keep(path, before, name)
        try:
            _replace(path, text)
        except OSError:
            kept.unlink()
            raise
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return Applied(name, differing, kept)


def _files(project: Project) -> list[Path]:
    folder = project.root / "presets"
    if not folder.is_dir():
        raise UserError(
            f"{folder}: not found; presets are files of the repository, not of the installed package: "
            "copy its presets/ into this project"
        )
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith(("_", ".")))


def _read(path: Path) -> Preset:
    layers: list[tuple[Path, dict[str, Any]]] = []
    summary = ""
    following: Path | None = path
    while following is not None:
        values = _layer(following, layers)
        theirs = values.pop("summary", "")
        summary = summary or theirs
        base = values.pop("extends", None)
        layers.insert(0, (following, values))
        following = path.with_name(f"{base}.yaml") if base is not None else None
    return Preset(path.stem, summary, tuple(layers))


def _layer(path: Path, inner: list[tuple[Path, dict[str, Any]]]) -> dict[str, Any]:
    """What one file holds; `inner` are the layers that extend it."""
    by = _shown(inner[0][0]) if inner else ""
    if path in (file for file, _ in inner):
        raise UserError(f"{by}: extends {path.stem}, which extends it in turn; a preset can't be its own base")
    try:
        values = read_mapping(path)
    except FileNotFoundError:
        raise UserError(f"{by}: extends {path.stem}, but there is no {_shown(path)}") from None
    except IsADirectoryError:
        raise UserError(f"{_shown(path)}: is a folder; a preset is a YAML file") from None
    for key in ("summary", "extends"):
        if not isinstance(values.get(key, ""), str):
            raise UserError(f"{_shown(path)}: {key} = {values[key]!r}: must be text")
    if not inner and not values.get("summary"):
        raise UserError(f"{_shown(path)}: summary: missing; say in one line what the preset is")
    return values


def _laid_over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`below` with the values of `above`, section by section."""
    result = dict(below)
    for key, value in above.items():
        under = result.get(key)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        result[key] = _laid_over(under, value) if both else value  # type: ignore[arg-type]
    return result


def _origin(preset: Preset, key: str) -> str:
    """The file that a fault is in: the last one that names the key."""
    for path, values in reversed(preset.layers):
        if key and _names(values, key.split(".")):
            return _shown(path)
    return _shown(preset.file)


def _names(values: Mapping[str, Any], parts: list[str]) -> bool:
    value: Any = values
    for part in parts:
        if not isinstance(value, Mapping):
            return True
        if part not in value:
            return False
        value = value[part]
    return True


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _head(preset: Preset) -> str:
    return (
        f"Preset {preset.name}: {preset.summary}. What it needs and how to run it: {_shown(preset.file)}.\n"
        "Everything that decides what a run makes. What each field means, with its range: src/quantart/params/."
    )


def _comments(before: str, new: Params, differing: list[Change]) -> dict[str, str]:
    described, changed = descriptions(new), [change.key for change in differing]
    theirs = {
        key: text
        for key, text in read_comments(before).items()
        if not any(key == other or key.startswith(f"{other}.") for other in changed)
    }
    return described | theirs


def _keep(path: Path, content: bytes, name: str) -> Path:
    """Write `content` beside `path` under a name that is not taken."""
    count = 1
    while True:
        kept = path.with_name(f"params.before-{name}{f'-{count}' if count > 1 else ''}.yaml")
        try:
            with kept.open("xb") as file:
                file.write(content)
            return kept
        except FileExistsError:
            count += 1


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
