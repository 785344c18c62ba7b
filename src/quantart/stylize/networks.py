"""The networks of a project, of folders or of MLflow addresses, opened by torch."""

from __future__ import annotations

from pathlib import Path

from quantart.errors import UserError
from quantart.machine.device import default_device
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.folder import PACKAGED, WEIGHTS, is_address
from quantart.models.shipped import SHIPPED
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project


def project_networks(project: Project, fidelity: Fidelity) -> FidelityControl:
    """The trained networks of a project that `fidelity` needs."""
    return _ready([ExperimentStage2.from_pretrained(project.stage2_model(variant)) for variant in fidelity.variants])


def named_networks(models: list[str], alpha: float | None, beta: float = 1.0) -> tuple[FidelityControl, Fidelity]:
    """The networks in folders, packaged models on disk, or at MLflow addresses, and the fidelity to use them with.

    A packaged model may hold both variants.

    `alpha` None: the packaged model's default if one such model is given, else `FidelityControl`'s.

    Raises:
        UserError: as `FidelityControl`, or a folder or address holds no network.
    """
    found: list[ExperimentStage2] = []
    for model in models:
        if model == SHIPPED:
            painter = ExperimentStage2.from_pretrained(SHIPPED)
            found += [painter, painter.without_codebooks()]
            continue
        package = _download(model) if is_address(model) else Path(model)
        if not (is_address(model) or (package / PACKAGED).is_file()):
            found.append(ExperimentStage2.from_pretrained(package))
            continue
        inside = sorted(file.parent for file in package.rglob(WEIGHTS))
        if not inside:
            raise UserError(f"--model {model}: holds no QuantArt network (no {WEIGHTS} in it)")
        found += map(ExperimentStage2.from_pretrained, inside)
        if alpha is None and len(models) == 1:
            alpha = _default_alpha(package)
    if len(found) > 2:
        raise UserError(f"--model {', '.join(models)}: {len(found)} networks", "give one of each variant")
    networks = _ready(found)
    return networks, networks.fidelity(alpha, beta)


def _ready(networks: list[ExperimentStage2]) -> FidelityControl:
    return FidelityControl.of(*networks).to(default_device())


def _download(model: str) -> Path:
    """The folder at an MLflow address."""
    import mlflow
    from mlflow.exceptions import MlflowException

    try:
        return Path(mlflow.artifacts.download_artifacts(model))
    except (MlflowException, OSError) as error:
        raise UserError(f"--model {model}: {str(error).splitlines()[0]}") from None


def _default_alpha(package: Path) -> float | None:
    """That of a packaged model; None for other folders."""
    from mlflow.models import Model

    schema = Model.load(package).get_params_schema() if (package / PACKAGED).is_file() else None
    return next((param.default for param in schema or () if param.name == "alpha"), None)
