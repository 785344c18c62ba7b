import shutil
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from quantart.registry.versions import RegisteredVersion
from quantart.serving.folder import served_version


def test_a_model_knows_the_version_it_was_loaded_as(registered: RegisteredVersion, tmp_path: Path) -> None:
    by_alias = Path(mlflow.artifacts.download_artifacts(f"models:/{registered.name}@{registered.alias}"))
    assert served_version(by_alias) == registered.version
    folder = Path(shutil.copytree(by_alias, tmp_path / "model"))
    assert served_version(folder) == registered.version


def test_without_a_registry_it_is_the_logged_model_and_then_nothing(
    registered: RegisteredVersion, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(mlflow.artifacts.download_artifacts(registered.uri), tmp_path / "model"))
    (folder / "registered_model_meta").unlink()
    logged = MlflowClient().get_run(registered.run_id).outputs.model_outputs
    assert served_version(folder) in {each.model_id for each in logged}
    (folder / "MLmodel").unlink()
    assert served_version(folder) == "unregistered"
