"""Stylising files: a photograph and a painting on disk to a picture on disk."""

from __future__ import annotations

from pathlib import Path

import torch

from quantart.errors import UserError
from quantart.images import read_image, write_image
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project
from quantart.serving.requests import MAX_PIXELS
from quantart.serving.stylizer import Stylizer


def stylize_file(photo: Path, style: Path, out: Path, network: Path, *, force: bool = False) -> None:
    """Paint the picture in `photo` in the manner of the one in `style` and write it to `out`.

    Args:
        network: folder of a stage-2 model.
        force: overwrite `out`.

    Raises:
        UserError: a file is no picture, `out` is there already or can't be written, or `network` is no model.
    """
    if out.exists() and not force:
        raise UserError(f"{out}: is there already; give --force to overwrite it, or another --out")
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist")
    content_picture = read_image(photo, max_pixels=MAX_PIXELS)
    style_picture = read_image(style, max_pixels=MAX_PIXELS)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    stylizer = Stylizer(ExperimentStage2.from_pretrained(network).to(device))
    write_image(out, stylizer.stylize(content_picture, style_picture))


def find_network(project: Project | None, model: str | None) -> Path:
    """The folder of the network to use.

    Args:
        model: a folder, an MLflow address (`models:/…`, `runs:/…`), or None for the one the project exports.

    Raises:
        UserError: there is none.
    """
    if model is None:
        if project is None:
            raise UserError("no project here and no --model; give a model's folder or its address in the registry")
        folder = project.stage2_model(project.params().export.variant)
        if not folder.is_dir():
            raise UserError(f"{folder}: not trained yet; `make run` or `dvc repro` trains it, or give --model")
        return folder
    if ":/" not in model:
        return Path(model)
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        downloaded = Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as error:
        raise UserError(f"--model {model}: {str(error).splitlines()[0]}") from None
    found = sorted(downloaded.rglob("model.safetensors"))
    if not found:
        raise UserError(f"--model {model}: holds no QuantArt network (no model.safetensors in it)")
    return found[0].parent
