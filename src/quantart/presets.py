"""Presets: one small file per task under `presets/`, from which a project's `params.yaml` is written.

A preset is YAML with `summary` (one line), optionally `extends` (the name of the preset that it builds on), and the
parameters that it sets. A file whose name begins with an underscore exists only to be extended.

The sections data, model, stage1, encode and stage2 are the task. They come from the preset alone, so a preset gives
the same training whatever was there before; a parameter that it does not set has its default. `seed`, `evaluate`,
`export` and `promote` stay the user's, except for the keys that the preset sets.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.markup import escape
from rich.table import Table

from quantart.errors import UserError
from quantart.machine.whole import write_whole
from quantart.params import Params
from quantart.params.file import as_yaml, changes, descriptions, faults, read_comments, read_mapping, render
from quantart.project import Project
from quantart.vocabulary.keys import flatten

TASK_SECTIONS = ("data", "model", "stage1", "encode", "stage2")


@dataclass(frozen=True)
class Preset:
    """A task's parameters, as its files have them."""

    name: str
    summary: str
    layers: tuple[tuple[Path, dict[str, Any]], ...]
    """file and parameters, the outermost base first, the preset's own last"""

    @property
    def file(self) -> Path:
        return self.layers[-1][0]


def presets_of(project: Project) -> list[Preset]:
    """All presets of the project, by name."""
    return [_read(path) for path in _files(project)]


def preset_table(project: Project) -> Table:
    """Name and summary of each preset."""
    table = Table("preset", "what it is", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for preset in presets_of(project):
        table.add_row(preset.name, escape(preset.summary))
    return table


def find_preset(project: Project, name: str) -> Preset:
    """The preset of that name; if there is none, the error's remedy names similar ones."""
    files = {path.stem: path for path in _files(project)}
    if name not in files:
        near = difflib.get_close_matches(name, files, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(files)}"
        raise UserError(f"no preset {name!r}", hint)
    return _read(files[name])


def params_with(preset: Preset, current: Params) -> Params:
    """The parameters of `preset`, with what stays the user's from `current`; one line for each fault, with its file."""
    merged = current.model_dump(exclude=set(TASK_SECTIONS))
    for _, values in preset.layers:
        merged = _laid_over(merged, values)
    try:
        return Params.model_validate(merged)
    except ValidationError as error:
        lines = [f"{_origin(preset, key)}: {sentence}" for key, sentence in faults(error)]
        raise UserError("\n".join(lines)) from None


def show_preset(project: Project, name: str) -> str:
    """The whole `params.yaml` that the preset gives, with the present value beside each one that differs."""
    preset, current = find_preset(project, name), project.params()
    new = params_with(preset, current)
    differing = changes(current.model_dump(), new.model_dump())
    was = {change.key: f"now {as_yaml(change.old)}" for change in differing}
    head = f"{preset.name}: {preset.summary}\n{len(differing)} values differ from {project.root / 'params.yaml'}"
    return render(new, was, head)


def use_preset(project: Project, name: str) -> str:
    """Write the project's `params.yaml` from the preset, and say what changed; after an error nothing has.

    A value that stays keeps its comment; a value that changes gets the parameter's description. The previous file is
    kept as `params.before-<name>.yaml`, the next one as `params.before-<name>-2.yaml`.
    """
    preset, current = find_preset(project, name), project.params()
    new = params_with(preset, current)
    differing = changes(current.model_dump(), new.model_dump())
    if not differing:
        return f"nothing changed: params.yaml already has the values of {name}"
    path = project.root / "params.yaml"
    before = path.read_bytes()
    head = (
        f"Preset {preset.name}: {preset.summary}. What it needs and how to run it: {_shown(preset.file)}.\n"
        "Everything that decides the result of a run. What each parameter means, with its range: quantart/params/."
    )
    changed = tuple(f"{change.key}." for change in differing)
    own = {key: text for key, text in read_comments(before.decode()).items() if not f"{key}.".startswith(changed)}
    text = render(new, descriptions(new) | own, head)
    kept = _keep(path, before, name)
    try:
        write_whole(path, text.encode())
    except UserError:
        kept.unlink()
        raise
    return "\n".join([*map(str, differing), f"params.yaml is now {name}; the previous one: {kept}"])


def _files(project: Project) -> list[Path]:
    folder = project.root / "presets"
    if not folder.is_dir():
        remedy = "`quantart init FOLDER` makes a project that has them: copy its presets/"
        raise UserError(f"{folder}: not found", remedy)
    return sorted(path for path in folder.glob("*.yaml") if not path.name.startswith(("_", ".")))


def _read(path: Path) -> Preset:
    own = _layer(path)
    if not own.get("summary"):
        raise UserError(f"{_shown(path)}: summary: missing", "say in one line what the preset is")
    layers = [(path, own)]
    while (base := layers[0][1].pop("extends", None)) is not None:
        extending, file = layers[0][0], path.with_name(f"{base}.yaml")
        if file in (each for each, _ in layers):
            raise UserError(f"{_shown(extending)}: extends {base}, which extends it in turn", "extend another preset")
        try:
            layers.insert(0, (file, _layer(file)))
        except FileNotFoundError:
            raise UserError(f"{_shown(extending)}: extends {base}, but there is no {_shown(file)}") from None
    summaries = [values.pop("summary", "") for _, values in layers]
    return Preset(path.stem, summaries[-1], tuple(layers))


def _layer(path: Path) -> dict[str, Any]:
    try:
        values = read_mapping(path)
    except IsADirectoryError:
        raise UserError(f"{_shown(path)}: is a folder", "a preset is a YAML file") from None
    for key in ("summary", "extends"):
        if not isinstance(values.get(key, ""), str):
            raise UserError(f"{_shown(path)}: {key} = {values[key]!r}: must be text")
    return values


def _laid_over(below: Any, above: Any) -> Any:
    """`below` with the values of `above`, section by section."""
    if not (isinstance(below, Mapping) and isinstance(above, Mapping)):
        return above
    return {**below, **{key: _laid_over(below.get(key), value) for key, value in above.items()}}


def _origin(preset: Preset, key: str) -> str:
    """The file that a fault is in: the last one that sets the key, else the preset's own."""
    for path, values in reversed(preset.layers):
        if any(f"{key}.".startswith(f"{each}.") or each.startswith(f"{key}.") for each in flatten(values)):
            return _shown(path)
    return _shown(preset.file)


def _shown(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


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
        except OSError as error:
            raise UserError(f"{kept}: cannot be written: {error.strerror}") from None
