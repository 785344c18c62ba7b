"""Which trained networks paint: a project's, or those of folders and MLflow addresses."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from quantart.errors import UserError
from quantart.models.fidelity import settle
from quantart.models.pretrained import WEIGHTS
from quantart.project import Project
from quantart.vocabulary.names import VARIANTS


class Networks(NamedTuple):
    """Stage-2 networks on disk, and the alpha they are used with."""

    folders: list[Path]
    """One for each variant."""
    alpha: float | None
    """Visual fidelity; None: the default of `FidelityControl`."""


def project_networks(project: Project, alpha: float | None) -> Networks:
    """The trained networks of a project that `alpha` needs; by default the one that the project exports."""
    default = project.params().export.variant
    trained = [variant for variant in VARIANTS if project.stage2_model(variant).is_dir()]
    if not trained:
        folder = project.stage2_model(default)
        raise UserError(f"{folder}: not trained yet", "`make run` or `dvc repro` trains it, or give --model")
    fidelity = settle(alpha, 1.0, trained, default)
    return Networks([project.stage2_model(variant) for variant in fidelity.variants], fidelity.alpha)


def named_networks(models: list[str], alpha: float | None) -> Networks:
    """The networks in folders, or at MLflow addresses (`models:/…`, `runs:/…`), each of which may hold both variants.

    Args:
        models: one, or two of different variants.
        alpha: None: the default of the model, where a single packaged one is given, else that of `FidelityControl`.
    """
    found: list[Path] = []
    for model in models:
        if ":/" not in model:
            found.append(Path(model))
            continue
        package, default = _download(model)
        found += sorted(file.parent for file in package.rglob(WEIGHTS))
        if alpha is None and len(models) == 1:
            alpha = default
    if len(found) > 2:
        raise UserError(f"--model {', '.join(models)}: {len(found)} networks", "give one of each variant")
    return Networks(found, alpha)


def _download(model: str) -> tuple[Path, float | None]:
    """The folder at an MLflow address, with at least one network in it, and a packaged model's default alpha."""
    import mlflow
    from mlflow.exceptions import MlflowException
    from mlflow.models import Model

    try:
        package = Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as error:
        raise UserError(f"--model {model}: {str(error).splitlines()[0]}") from None
    if not any(package.rglob(WEIGHTS)):
        raise UserError(f"--model {model}: holds no QuantArt network (no {WEIGHTS} in it)")
    schema = Model.load(package).get_params_schema() if (package / "MLmodel").is_file() else None
    return package, next((param.default for param in schema or () if param.name == "alpha"), None)
