"""What a model's folder holds. Nothing here needs torch."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from quantart.errors import UserError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
DISCRIMINATOR = "discriminator.safetensors"  # beside an imported VQGAN, for fine-tuning
PACKAGED = "MLmodel"  # in the folder of a model that MLflow packaged


def file_sha256(path: Path) -> str:
    """The file's checksum in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_config(folder: Path) -> dict[str, Any]:
    """The constructor's arguments and the `model`; UserError where there are none."""
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf8"))
    except OSError:
        remedy = f"a model's folder has {CONFIG} and {WEIGHTS}"
        if not folder.exists():
            remedy += "; `hf download OWNER/NAME --local-dir FOLDER` fetches one from the hub"
        raise UserError(f"{folder}: holds no model", remedy) from None
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG}: not a JSON object")
    return config


def is_address(model: str) -> bool:
    """Whether `model` is an address in MLflow (`models:/…`, `runs:/…`), not a folder."""
    return ":/" in model
