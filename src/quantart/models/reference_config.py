"""What is known about a checkpoint of the reference besides its tensors: options, and its YAML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from quantart.errors import UserError, one_line


@dataclass(frozen=True)
class Settings:
    """What a user tells about a checkpoint; None: nothing.

    Attributes:
        resolution: side in pixels that it was trained at.
        residual: whether the attention blocks of the style transfer network add to their input.
        legacy: form of the codebook loss, see `VectorQuantizer`.
        config: `model` of the reference's YAML file.
        continuous: it is a stage-2 model trained without codebooks, not one that has lost them.
        ema: take the moving averages of the weights that the file holds, not the weights themselves.
        prefix: of the network's keys, where several networks are in the file.
    """

    resolution: int | None = None
    residual: bool | None = None
    legacy: bool = True
    config: Mapping[str, Any] = field(default_factory=dict)
    continuous: bool = False
    ema: bool = False
    prefix: str | None = None

    @property
    def params(self) -> Mapping[str, Any]:
        return self.config.get("params", {})

    @property
    def ddconfig(self) -> Mapping[str, Any]:
        return self.params.get("ddconfig", {})


def read_config(path: Path) -> dict[str, Any]:
    """The `model` section of a configuration in the reference's YAML layout (`model.params.ddconfig.…`).

    Raises:
        UserError: it can't be read, is not YAML or has another layout, or a value that is used has the wrong type.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}", "give the reference's YAML file") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not a configuration with model.params.ddconfig ({one_line(error)})") from None
    section = config
    for depth, key in enumerate(("model", "params", "ddconfig")):
        section = section.get(key) if isinstance(section, dict) else None
        if not isinstance(section, dict):
            name = ".".join(("model", "params", "ddconfig")[: depth + 1])
            raise UserError(f"{path}: not a configuration with model.params.ddconfig ({name} is no mapping)")
    model: dict[str, Any] = config["model"]
    _check_kinds(model["params"], str(path))
    return model


def _check_kinds(params: Mapping[str, Any], source: str) -> None:
    """Checks the values that are used; the others are only compared with the tensors."""
    values = {**params["ddconfig"], **params}
    for key, (is_right, kind) in _KINDS.items():
        if key in values and not is_right(values[key]):
            raise UserError(f"{source}: {key} is {values[key]!r} in the configuration", f"it must be {kind}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


_KINDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "attn_resolutions": (lambda v: isinstance(v, list) and all(map(_is_whole, v)), "a list of sides in pixels"),
    "resolution": (_is_whole, "a number of pixels"),
    "dropout": (lambda v: isinstance(v, (int, float)) and 0 <= v <= 1, "a number from 0 to 1"),
    "n_embed": (_is_whole, "a number of codes"),
    "use_residual": (lambda v: isinstance(v, bool), "true or false"),
}
