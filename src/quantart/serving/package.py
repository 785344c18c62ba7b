"""Packaging trained networks as an MLflow model and registering it."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
from mlflow.types.schema import AnyType

from quantart.graphs.network import have_graphs
from quantart.images.arrays import Picture, encode_png
from quantart.imports import PACKAGE, checksums
from quantart.models.alpha_beta import ALPHA_OF
from quantart.models.fidelity import FidelityControl
from quantart.models.folder import file_sha256
from quantart.models.shipped import SHIPPED
from quantart.models.stage_2 import ExperimentStage2
from quantart.registry.versions import CHALLENGER, RegisteredVersion
from quantart.reporting.run_metrics import EVALUATION
from quantart.serving.folder import SHA256_TAG, SUMS, loadable, write_checksums
from quantart.serving.requests import COLUMNS, Limits
from quantart.tracking.find import latest_points
from quantart.vocabulary.names import Variant

REQUIREMENTS = ("cachetools", "mlflow-skinny", "numpy", "pandas", "pillow", "pillow-heif", "pyyaml", "safetensors")
CARD, MODULES = "README.md", "modules.zip"
# of any type: for binary columns MLflow decodes base64 itself in two of its four request forms, and drops what it does
# not know (url-safe characters, the head of a data: URI); and it refuses Arrow's binary columns
_INPUTS = {column: AnyType() for column in COLUMNS}
_OUTPUTS = {
    **{"image": "string", "width": "long", "height": "long"},
    **{"model_version": "string", "seconds": "double", "refined": "long"},
}


def log_and_register(
    networks: Mapping[Variant, Path],
    *,
    variant: Variant,
    run_id: str,
    name: str,
    example: tuple[Picture, Picture],
    card: str,
    tags: Mapping[str, str],
) -> RegisteredVersion:
    """Log the stage-2 networks as one model of a run, and register it once it was loaded and has painted the example.

    The model holds the safetensors weights, the code it imports and exact requirements; nothing in it is pickled.

    Args:
        networks: folders of one or both variants; in the model each is in `artifacts/` under its folder's name.
        variant: the one that paints where a request gives no alpha.
        run_id: the training run; its status stays as it is.
        example: a content and a style picture, the model's input example.
        card: in Markdown, kept in the model and as the version's description.
        tags: of the version; `sha256`, the checksum of its checksums, is added.

    Raises:
        UserError: the networks can't be loaded or mixed.
        MlflowException: the logged model does not answer its example.
    """
    FidelityControl.of(*map(ExperimentStage2.from_pretrained, networks.values()))
    frame = pd.DataFrame([dict(zip(COLUMNS, map(encode_png, example), strict=True))], dtype=object)
    with TemporaryDirectory() as folder:
        readme = Path(folder, CARD)
        readme.write_text(card, encoding="utf8")
        contents = _contents(Path(folder), networks, variant)
        contents["artifacts"][CARD] = str(readme)
        tags = {**tags, SHA256_TAG: file_sha256(Path(folder, SUMS))}
        logged = _log(name, run_id, frame, contents)
    number = mlflow.register_model(logged.model_uri, name, tags=tags).version
    MlflowClient().update_model_version(name, number, card)
    return RegisteredVersion(name, str(number), CHALLENGER, run_id)


def _log(name: str, run_id: str, frame: pd.DataFrame, contents: Mapping[str, Any]) -> LoggedModel:
    """Log the model to the run, and have the store's copy paint `frame`, the input example.

    MLflow's `Model.log` reads the history of each of the run's metrics, one after another.
    """
    client = MlflowClient()
    run = client.get_run(run_id)
    logged = client.create_logged_model(run.info.experiment_id, name, run_id, params=run.data.params)
    status = LoggedModelStatus.FAILED
    try:
        client.log_outputs(run_id, [LoggedModelOutput(logged.model_id, 0)])
        measured = [point for key, point in latest_points(run).items() if key.startswith(f"{EVALUATION}/")]
        if measured:  # the model's page shows them
            own = [Metric(each.key, each.value, each.timestamp, each.step, logged.model_id) for each in measured]
            client.log_batch(run_id, own)
        model = Model(logged.artifact_location, run_id, model_uuid=logged.model_id, model_id=logged.model_id)
        with TemporaryDirectory() as folder:
            mlflow.pyfunc.save_model(Path(folder, "model"), mlflow_model=model, input_example=frame, **contents)
            client.log_model_artifacts(logged.model_id, str(Path(folder, "model")))
        copy = loadable(Path(mlflow.artifacts.download_artifacts(logged.model_uri)))
        mlflow.pyfunc.load_model(str(copy)).predict(frame)
        status = LoggedModelStatus.READY
    finally:
        client.finalize_logged_model(logged.model_id, status)
    return logged


def package_shipped(folder: Path) -> None:
    """Write `quantart/open`, both variants, to `folder` as a packaged model that belongs to no store."""
    with TemporaryDirectory() as made:
        painter = ExperimentStage2.from_pretrained(SHIPPED)
        networks: dict[Variant, Path] = {}
        for each in (painter, painter.without_codebooks()):
            networks[each.variant] = Path(made, each.variant)
            each.half().save_pretrained(networks[each.variant])
        contents = _contents(Path(made), networks, painter.variant)
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # that there is no input example
            # a server answers with the model's id where there is no registered version
            mlflow.pyfunc.save_model(folder, mlflow_model=Model(model_id=SHIPPED), **contents)


def _contents(folder: Path, networks: Mapping[Variant, Path], variant: Variant) -> dict[str, Any]:
    """What MLflow is to package, by its arguments; files that are made for it are in `folder`."""
    write_checksums(networks.values(), folder / SUMS)
    return {
        "python_model": str(Path(__file__).with_name("model.py")),
        "artifacts": {str(name): str(path) for name, path in [*networks.items(), (SUMS, folder / SUMS)]},
        "code_paths": [str(_copy_of_code(folder / "quantart"))],
        "pip_requirements": requirements(*networks.values()),
        "model_config": asdict(Limits()),
        "signature": _signature(ALPHA_OF[variant]),
    }


def _copy_of_code(folder: Path) -> Path:
    """`folder` with what the served model imports, and nothing else: a package whose modules are in one archive."""
    folder.mkdir()
    with ZipFile(folder / MODULES, "w", ZIP_DEFLATED) as modules:
        for file in checksums("quantart.serving.model"):
            if file == "__init__.py":
                source = (PACKAGE / file).read_text(encoding="utf8")
                (folder / file).write_text(f'{source}\n__path__ = [__file__.removesuffix("{file}") + "{MODULES}"]\n')
            elif not file.endswith(".safetensors"):  # weights are read as files
                # without the time, so that the same code is the same archive
                modules.writestr(ZipInfo(file), (PACKAGE / file).read_bytes(), ZIP_DEFLATED)
            else:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(PACKAGE / file, folder / file)
    return folder


def _signature(alpha: float) -> ModelSignature:
    """What the model takes and answers, with the default of the parameter `alpha`.

    The default of `size` is null, which MLflow accepts for any type; any number could be mistaken for a size.
    """
    inputs, outputs = (Schema([ColSpec(kind, name) for name, kind in each.items()]) for each in (_INPUTS, _OUTPUTS))
    params = (("alpha", "double", alpha), ("beta", "double", 1.0), ("size", "long", None), ("refine", "long", 0))
    return ModelSignature(inputs, outputs, ParamSchema([ParamSpec(*param) for param in params]))


def requirements(*networks: Path) -> list[str]:
    """What the model needs to answer, in the versions installed here, without the suffix of local builds (`+cu132`).

    Of MLflow that is what its server needs. Networks that `have_graphs` need no torch.
    """
    needed = (*REQUIREMENTS, *(("onnxruntime",) if have_graphs(*networks) else ("torch", "torchvision")))
    return [f"{package}=={version(package).partition('+')[0]}" for package in needed]
