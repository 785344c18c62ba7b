"""A photograph and a painting on disk to a picture on disk."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from quantart.device import default_device
from quantart.errors import UserError
from quantart.images import read_image, write_image
from quantart.models.fidelity import FidelityControl, settle
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import VARIANTS
from quantart.project import Project
from quantart.serving.requests import MAX_PIXELS
from quantart.serving.stylizer import Stylizer


class Networks(NamedTuple):
    """Stage-2 networks on disk, and how to use them."""

    folders: list[Path]
    """One for each variant that is wanted."""
    alpha: float | None
    """Visual fidelity; None: `FidelityControl`'s default."""


def stylize_file(
    photo: Path, style: Path, out: Path, networks: Networks, *, beta: float = 1.0, force: bool = False
) -> None:
    """Paint the picture in `photo` in the manner of the one in `style` and write it to `out`.

    Args:
        beta: style fidelity.
        force: overwrite `out`.

    Raises:
        UserError: a file is no picture, `out` is there already or can't be written, a folder holds no model, or the
            models can't do that alpha or beta.
    """
    if out.exists() and not force:
        raise UserError(f"{out}: is there already; give --force to overwrite it, or another --out")
    if not out.parent.is_dir():
        raise UserError(f"{out}: the folder {out.parent} does not exist")
    content_picture = read_image(photo, max_pixels=MAX_PIXELS)
    style_picture = read_image(style, max_pixels=MAX_PIXELS)
    control = FidelityControl.of(*map(ExperimentStage2.from_pretrained, networks.folders))
    stylizer = Stylizer(control.to(default_device()))
    write_image(out, stylizer.stylize(content_picture, style_picture, networks.alpha, beta))


def project_networks(project: Project, alpha: float | None) -> Networks:
    """Those of the variants trained in the project that `alpha` needs; by default the one the project exports.

    Raises:
        UserError: none is trained, or not the one that `alpha` needs.
    """
    default = project.params().export.variant
    trained = [variant for variant in VARIANTS if project.stage2_model(variant).is_dir()]
    if not trained:
        folder = project.stage2_model(default)
        raise UserError(f"{folder}: not trained yet; `make run` or `dvc repro` trains it, or give --model")
    fidelity = settle(alpha, 1.0, trained, default)
    return Networks([project.stage2_model(variant) for variant in fidelity.variants], fidelity.alpha)


def named_networks(models: list[str], alpha: float | None) -> Networks:
    """Those of folders, or of MLflow addresses (`models:/…`, `runs:/…`), each of which may hold both variants.

    Args:
        models: one, or two that are of different variants.
        alpha: None: that of the one model, where it is a packaged one; else `FidelityControl`'s default.

    Raises:
        UserError: there is none at an address, or there are more than two.
    """
    packages = [_download(model) if ":/" in model else None for model in models]
    found: list[Path] = []
    for model, package in zip(models, packages, strict=True):
        found += [Path(model)] if package is None else _networks_in(package, model)
    if len(found) > 2:
        raise UserError(f"--model {', '.join(models)}: {len(found)} networks; give a discrete and a continuous one")
    if alpha is None and len(packages) == 1 and packages[0] is not None:
        alpha = _default_alpha(packages[0])
    return Networks(found, alpha)


def _download(model: str) -> Path:
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as error:
        raise UserError(f"--model {model}: {str(error).splitlines()[0]}") from None


def _networks_in(package: Path, model: str) -> list[Path]:
    found = sorted(file.parent for file in package.rglob("model.safetensors"))
    if not found:
        raise UserError(f"--model {model}: holds no QuantArt network (no model.safetensors in it)")
    return found


def _default_alpha(package: Path) -> float | None:
    """Of a packaged model; None for a network alone."""
    from mlflow.models import Model

    if not (package / "MLmodel").is_file():
        return None
    schema = Model.load(package).get_params_schema()
    return next((param.default for param in schema or () if param.name == "alpha"), None)
