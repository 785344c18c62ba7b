"""The file `params.yaml`: read and checked, compared key by key, and written with a comment beside each value.

An unknown key, a wrong type, a value out of range or an impossible combination raises `UserError` with one line for
each fault: the key, its value and what would be right.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from quantart.errors import UserError, one_line
from quantart.params import Params

WIDTH = 120  # columns of a written file
_PAINTING = "gone; the objective painting has stage2.painting."
GONE = {
    "stage2.stage1_content": "is now called stage1.content_from",
    "stage2.stage1_style": "is now called stage1.style_from",
    "stage2.loss.perceptual_network": "is now called stage2.painting.perceptual_network",
    "stage2.loss.gram_weight": f"{_PAINTING}texture_weight",
    "stage2.loss.perceptual_weight": f"{_PAINTING}content_weight",
    "stage2.loss.contrast_weight": f"{_PAINTING}texture_weight",
    "stage2.loss.divide_by_variance": "gone; leave it out: the published losses are not divided",
    "stage2.network.adain_start": "gone; leave it out: the network of the objective painting always does it",
    "stage2.network.adain_end": "gone; leave it out",
}
"""What to say of keys that earlier versions had."""
_COMMENT = re.compile(r":?[ \t]+#[ \t]*(.*)")


class _Loader(yaml.SafeLoader):
    """Reads `1e-3` as a number, as YAML 1.2 and DVC do; PyYAML alone reads it as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_params(path: Path) -> Params:
    """Read and check a parameter file."""
    try:
        raw = read_mapping(path)
    except FileNotFoundError:
        raise UserError(f"{path}: not found", "run inside a QuantArt project, which has a params.yaml") from None
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        raise UserError("\n".join(f"{path.name}: {sentence}" for _, sentence in faults(error))) from None


def read_mapping(path: Path) -> dict[str, Any]:
    """The parameters in a YAML file, unchecked and perhaps not all; `FileNotFoundError` if there is no such file."""
    try:
        raw = yaml.load(path.read_text(encoding="utf8"), _Loader)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not valid YAML: {one_line(error)}") from None
    if not isinstance(raw, dict):
        raise UserError(f"{path}: holds no parameters", "it must be a mapping with data, model, stage1, …")
    return raw


def faults(error: ValidationError) -> list[tuple[str, str]]:
    """(dotted key, sentence) of each fault; the key is empty if several sections contradict each other."""
    found = []
    for each in error.errors():
        key, message = ".".join(map(str, each["loc"])), each["msg"].removeprefix("Value error, ")
        unknown = GONE.get(key, "unknown key")
        said = {"extra_forbidden": unknown, "missing": "missing", "value_error": message}.get(each["type"])
        if said is None:
            found.append((key, f"{key} = {each['input']!r}: {message[0].lower()}{message[1:]}"))
        else:
            found.append((key, f"{key}: {said}" if key else said))
    return found


@dataclass(frozen=True)
class Change:
    """A value that differs; None also stands for a missing one."""

    key: str
    old: Any
    new: Any

    def __str__(self) -> str:
        return f"{self.key}: {as_yaml(self.old)} -> {as_yaml(self.new)}"


def changes(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[Change]:
    """The differences between two nested mappings, in the order of the keys; a list is one value."""
    found: list[Change] = []
    for name in dict.fromkeys([*new, *old]):
        key, was, now = f"{prefix}{name}", old.get(name), new.get(name)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += changes(was, now, f"{key}.")
        elif was != now:
            found.append(Change(key, was, now))
    return found


def as_yaml(value: Any) -> str:
    """A value as it is written in a YAML file, on one line."""
    text: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def read_comments(text: str) -> dict[str, str]:
    """The comment at the end of a line, by the dotted key of the line; the text must be valid parameters."""
    found: dict[str, str] = {}

    def walk(node: Any, prefix: str) -> None:
        for key, value in node.value:
            name = f"{prefix}{key.value}"
            section = isinstance(value, yaml.MappingNode) and not value.flow_style
            if comment := _COMMENT.match(text, (key if section else value).end_mark.index):
                found[name] = comment[1].strip()
            if section:
                walk(value, f"{name}.")

    walk(yaml.compose(text, yaml.SafeLoader), "")
    return found


def descriptions(params: Params) -> dict[str, str]:
    """The description of each parameter, by dotted key."""
    described = ((key, text) for key, value, text in _walk(params) if text and not isinstance(value, BaseModel))
    return {key: " ".join(text.split()) for key, text in described}


def render(params: Params, comments: Mapping[str, str], head: str = "") -> str:
    """All of `params` as YAML, which `load_params` reads back to the same values.

    Args:
        comments: by dotted key; written at the end of the line, or above it if the line would be too long.
        head: lines for the top of the file, without `#`.
    """
    lines = [f"# {line}" for line in head.splitlines()]
    for key, value, _ in _walk(params):
        *sections, name = key.split(".")
        indent, comment = "  " * len(sections), comments.get(key, "")
        line = f"{indent}{name}:"
        if not isinstance(value, BaseModel):
            line += f" {as_yaml(value)}"
        elif not sections:
            lines.append("")
        beside = f"{line:<34} # {comment}" if comment else line
        if len(beside) > WIDTH and comment:
            above = textwrap.wrap(comment, WIDTH - len(indent) - 2, break_long_words=False, break_on_hyphens=False)
            lines += [*(f"{indent}# {part}" for part in above), line]
        else:
            lines.append(beside)
    return "\n".join(lines) + "\n"


def _walk(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, Any, str | None]]:
    """Key, value and description of each section and parameter, a section before what is in it."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        yield f"{prefix}{name}", value, field.description
        if isinstance(value, BaseModel):
            yield from _walk(value, f"{prefix}{name}.")
