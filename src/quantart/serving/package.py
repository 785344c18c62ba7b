"""Packaging a trained network as an MLflow model and registering it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, DataType, Schema

import quantart
from quantart.images import Picture, encode_png

CHALLENGER = "challenger"
REQUIREMENTS = ("mlflow", "numpy", "pandas", "pillow", "safetensors", "torch")
SIGNATURE = ModelSignature(
    inputs=Schema([ColSpec(DataType.binary, "content"), ColSpec(DataType.binary, "style")]),
    outputs=Schema(
        [ColSpec(DataType.string, "image"), ColSpec(DataType.long, "width"), ColSpec(DataType.long, "height")]
    ),
)


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the model registry."""

    name: str
    version: str
    alias: str
    run_id: str

    @property
    def uri(self) -> str:
        return f"models:/{self.name}@{self.alias}"


def log_and_register(
    network: Path,
    *,
    run_id: str,
    name: str,
    example: tuple[Picture, Picture],
    description: str,
    tags: Mapping[str, str],
) -> RegisteredModel:
    """Log the stage-2 network in folder `network` as a model of its run, register it and move `challenger` to it.

    The model holds the safetensors weights, this package as code and exact requirements; nothing in it is pickled.
    The alias moves only after the logged model was opened and has painted the example.

    Args:
        network: folder that `ExperimentStage2.save_pretrained` wrote.
        run_id: the training run, in the store that is configured; its status stays as it is.
        name: in the registry; made there if absent.
        example: a content and a style picture, kept in the model as its input example.
        description: of the version, in Markdown.
        tags: of the version.

    Raises:
        MlflowException: the logged model does not answer its example.
    """
    row = {"content": encode_png(example[0]), "style": encode_png(example[1])}
    frame = pd.DataFrame([row], dtype=object)
    info = Model.log(
        artifact_path=None,
        name=name,
        flavor=mlflow.pyfunc,
        run_id=run_id,
        python_model=str(Path(__file__).with_name("model.py")),
        artifacts={"network": str(network)},
        code_paths=[str(Path(quantart.__file__).parent)],
        pip_requirements=requirements(),
        signature=SIGNATURE,
        input_example=frame,
    )
    mlflow.pyfunc.load_model(info.model_uri).predict(frame)
    registered = mlflow.register_model(info.model_uri, name, tags=dict(tags))
    client = MlflowClient()
    client.update_model_version(name, registered.version, description)
    client.set_registered_model_alias(name, CHALLENGER, registered.version)
    return RegisteredModel(name, str(registered.version), CHALLENGER, run_id)


def requirements() -> list[str]:
    """What the served model imports, in the versions installed here; local builds (`+cu132`) count as their release."""
    return [f"{package}=={version(package).partition('+')[0]}" for package in REQUIREMENTS]
