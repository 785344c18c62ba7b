import shutil
from pathlib import Path

import mlflow
from mlflow import MlflowClient

from quantart.project import Project
from quantart.registry.promotion import promote
from quantart.registry.versions import RegisteredVersion

from ..registry.versions import ROOT, evaluate, values


def test_the_promoted_package_is_what_champion_loads(registered: RegisteredVersion, tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    evaluate(registered.run_id, values())
    done = promote(Project(tmp_path), registered.version, registered.name)
    assert done.move is not None
    loaded = mlflow.pyfunc.load_model(f"models:/{registered.name}@champion")
    assert loaded.metadata.run_id == registered.run_id
    assert loaded.metadata.get_params_schema() is not None
    MlflowClient().delete_registered_model_alias(registered.name, "champion")
