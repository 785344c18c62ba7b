"""The model that comes with the package: the name `quantart/open` stands wherever a model's folder does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

SHIPPED = "quantart/open"
Part = Literal["stage1_base", "stage1_content", "stage1_style", "stage2_discrete"]

_FOLDER = Path(__file__).parents[1] / "shipped" / "open"


def shipped(part: Part) -> Path:
    """Folder of one of its networks: a VQGAN of stage 1, or the whole model of stage 2."""
    return _FOLDER / part


def shipped_training() -> dict[str, Any]:
    """How its transfer network was trained: `parameters`, nested by section, `data`, and its `licences` by digest."""
    training: dict[str, Any] = json.loads((_FOLDER / "training.json").read_text(encoding="utf8"))
    return training


def shipped_checksums() -> dict[str, str]:
    """sha256 of each of its files, by path below its folder."""
    files = sorted(_FOLDER.glob("*/*"))
    return {file.relative_to(_FOLDER).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def model_folder(named: str, part: Part, root: Path) -> Path:
    """The folder that a parameter names, relative to `root`, or `part` of the shipped model."""
    return shipped(part) if named == SHIPPED else root / named
