"""A store that was moved or copied with its project, and projects in folders of any name; real MLflow, made once."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from sqlalchemy import make_url

from quantart.tracking.spool import Spool, find_spools
from quantart.tracking.store import absolute_address, configure, database_of, relative_address, tracking_uri

NAMES = ["what?", "100% art #1", "50%20off", "öl & 油画", "new\nline", "my art", "a+b@c:d;e", "%"]


@pytest.fixture(autouse=True)
def _own_store(own_store: pytest.MonkeyPatch) -> None:
    """Each test begins without an address."""


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with a finished run, its model, and two registered versions: of the run's files, of a logged model."""
    root = tmp_path_factory.mktemp("first") / "project"
    root.mkdir()
    (root / "model").write_text("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", "")
        configure(root)
        log_run(root)
        client = MlflowClient()
        client.create_registered_model("quantart")
        (run,) = runs()
        client.create_model_version("quantart", f"{run.info.artifact_uri}/model", run.info.run_id)
        logged = client.create_logged_model(run.info.experiment_id, "packaged", run.info.run_id)
        client.create_model_version("quantart", f"models:/{logged.model_id}", run.info.run_id)
        yield root


def log_run(root: Path) -> str:
    client = MlflowClient()
    run_id = client.create_run(mlflow.get_experiment_by_name("quantart").experiment_id).info.run_id
    client.log_artifact(run_id, str(root / "model"), "model")
    client.set_terminated(run_id)
    return str(run_id)


def runs() -> list[mlflow.entities.Run]:
    return list(MlflowClient().search_runs([mlflow.get_experiment_by_name("quantart").experiment_id]))


@pytest.fixture
def project(first: Path, tmp_path: Path) -> Path:
    """As `first`, in a place of its own that the store knows; it may be moved."""
    root = tmp_path / "project"
    shutil.copytree(first, root)
    configure(root)
    return root


def check(root: Path) -> None:
    """Everything of the store is read from `root` and written there."""
    (run,) = runs()
    (root / "mlartifacts" / run.info.run_id / "artifacts" / "model" / "model").write_text("here")
    found = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="model/model")
    assert Path(found).read_text() == "here"
    run_id = log_run(root)
    assert (root / "mlartifacts" / run_id / "artifacts" / "model" / "model").read_text() == "weights"
    client, here = MlflowClient(), (root / "mlartifacts").as_uri()
    version = client.get_model_version("quantart", "1")
    assert version.source == f"{here}/{version.run_id}/artifacts/model"
    assert client.get_model_version_download_uri("quantart", "1") == version.source
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert logged.artifact_location == f"{here}/models/{logged.model_id}/artifacts"
    assert client.get_model_version_download_uri("quantart", "2") == logged.artifact_location


def test_a_moved_project_reads_and_writes_where_it_is_now(project: Path, own_store: pytest.MonkeyPatch) -> None:
    moved = project.with_name("moved")
    project.rename(moved)
    own_store.delenv("MLFLOW_TRACKING_URI")
    configure(moved)
    check(moved)
    assert not project.exists()


def test_a_moved_database_alone_does_not_make_the_old_place_anew(project: Path, own_store: pytest.MonkeyPatch) -> None:
    moved = project.rename(project.with_name("moved"))
    shutil.rmtree(moved / "mlartifacts")
    own_store.delenv("MLFLOW_TRACKING_URI")
    configure(moved)
    assert (moved / "mlartifacts" / log_run(moved)).is_dir()
    assert not project.exists()


def test_a_copy_leaves_the_original_alone(project: Path, own_store: pytest.MonkeyPatch) -> None:
    copy = project.with_name("copy")
    shutil.copytree(project, copy)
    before = sorted(project.rglob("*"))
    own_store.delenv("MLFLOW_TRACKING_URI")
    configure(copy)
    check(copy)
    assert sorted(project.rglob("*")) == before


def test_it_is_said_once(project: Path, own_store: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    moved = project.with_name("moved")
    project.rename(moved)
    for _ in range(2):
        own_store.delenv("MLFLOW_TRACKING_URI")
        with caplog.at_level("INFO", "quantart"):
            configure(moved)
    (said,) = (record.getMessage() for record in caplog.records)
    assert (project / "mlartifacts").as_uri() in said


def test_a_place_that_was_chosen_stays(project: Path, own_store: pytest.MonkeyPatch) -> None:
    """A database alone, whose artifacts are still where it says; and a folder of another name."""
    other = project.with_name("other")
    other.mkdir()
    shutil.copy(project / "mlflow.db", other)
    own_store.delenv("MLFLOW_TRACKING_URI")
    configure(other)
    assert mlflow.get_experiment_by_name("quantart").artifact_location == (project / "mlartifacts").as_uri()
    assert log_run(project) in {path.name for path in (project / "mlartifacts").iterdir()}
    chosen = (project / "elsewhere").as_uri()
    with sqlite3.connect(project / "mlflow.db") as connection:
        connection.execute("UPDATE experiments SET artifact_location = ? WHERE name = 'quantart'", (chosen,))
    connection.close()
    own_store.delenv("MLFLOW_TRACKING_URI")
    configure(project)
    assert mlflow.get_experiment_by_name("quantart").artifact_location == chosen


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_any_name_holds_its_store(
    name: str, first: Path, tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    root = tmp_path / name
    shutil.copytree(first, root)
    configure(root)
    check(root)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert {path.name for path in root.iterdir()} == {"mlflow.db", "mlflow.db.lock", "mlartifacts", "model"}


@pytest.mark.parametrize("name", NAMES)
def test_an_address_means_the_same_file_to_everybody(name: str) -> None:
    root = Path("/home/me") / name
    uri = tracking_uri(root)
    assert database_of(uri) == Path(str(make_url(uri).database)) == root / "mlflow.db"
    assert relative_address(uri, root) == "sqlite:///mlflow.db"
    assert absolute_address("sqlite:///mlflow.db", root) == absolute_address(uri, root) == uri
    assert relative_address(uri, Path("/home/you")) == uri


@pytest.mark.parametrize("name", ["moved", *NAMES])
def test_what_is_not_delivered_moves_with_the_project(name: str, tmp_path: Path) -> None:
    root = tmp_path / "project"
    Spool.create(root, tracking_uri(root)).lock.release()
    moved = root.rename(tmp_path / name)
    (spool,) = find_spools(moved, tracking_uri(moved))
    assert spool.address == tracking_uri(moved)
