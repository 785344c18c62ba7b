"""Which version a model's folder is."""

from __future__ import annotations

from pathlib import Path

import yaml
from mlflow.models import Model
from mlflow.models.model import MLMODEL_FILE_NAME
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME


def registered_as(folder: Path) -> tuple[str, str] | None:
    """Name and version number under which the model in `folder` is registered; None: it did not come from a registry.

    A model is packaged before it has a number. MLflow writes the number beside `MLmodel` whenever a version is
    downloaded by its registry address, also by an alias, to load, serve or put it into an image.
    """
    meta = folder / REGISTERED_MODEL_META_FILE_NAME
    if not meta.is_file():
        return None
    registered = yaml.safe_load(meta.read_text(encoding="utf8"))
    return str(registered["model_name"]), str(registered["model_version"])


def served_version(folder: Path) -> str:
    """Version number of the model in `folder`, or else its id in the store (`m-…`), or else `unregistered`."""
    if registered := registered_as(folder):
        return registered[1]
    if (folder / MLMODEL_FILE_NAME).is_file():
        return Model.load(folder).model_id or "unregistered"
    return "unregistered"
