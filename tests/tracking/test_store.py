import os
import socket
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import mlflow
import pytest

from quantart.errors import UserError
from quantart.machine.root import real_root
from quantart.tracking.runs import stage_run
from quantart.tracking.spool import find_spools
from quantart.tracking.store import (
    EXPERIMENT,
    Unreachable,
    around_proxy,
    check_files,
    configure,
    store_error,
    tracking_uri,
)

from .leaving import server_of


def test_the_default_store_is_at_the_projects_root_from_any_folder(
    tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    project, elsewhere = tmp_path / "100% art #1, 50%20off?", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()
    own_store.chdir(elsewhere)
    uri = configure(Path("..", project.name))
    assert mlflow.get_tracking_uri() == uri == os.environ["MLFLOW_TRACKING_URI"] == tracking_uri(project)
    assert (project / "mlflow.db").is_file()
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    assert experiment.artifact_location == (project / "mlartifacts").as_uri()
    assert list(elsewhere.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {project.name, "elsewhere"}


def test_configuring_again_keeps_the_store_and_its_experiment(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    uri = configure(tmp_path)
    experiment = mlflow.get_experiment_by_name(EXPERIMENT).experiment_id
    assert configure(tmp_path) == uri
    assert [known.experiment_id for known in mlflow.search_experiments(filter_string=f"name = '{EXPERIMENT}'")] == [
        experiment
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:////home/me/art/mlflow.db"),
        ("sqlite:///runs.db", "sqlite:////home/me/art/runs.db"),
        ("sqlite:///../runs.db", "sqlite:////home/me/art/../runs.db"),
        ("sqlite:////var/runs.db", "sqlite:////var/runs.db"),
        ("http://tracking:5000", "http://tracking:5000"),
    ],
)
def test_the_environment_decides_and_relative_paths_start_at_the_root(
    given: str | None, expected: str, own_store: pytest.MonkeyPatch
) -> None:
    if given is not None:
        own_store.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking_uri(Path("/home/me/art")) == expected


@pytest.mark.parametrize("copy", [".dvc/tmp/exps/tmp1a2b", ".dvc/tmp/exps/standalone/tmp1a2b"])
def test_a_queued_experiments_copy_uses_the_real_projects_store(copy: str, tmp_path: Path) -> None:
    assert real_root(tmp_path / copy) == tmp_path
    assert real_root(tmp_path) == tmp_path


def test_two_processes_that_start_on_an_empty_folder_both_log(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    code = (
        "import sys, pathlib; from quantart.tracking.runs import stage_run\n"
        "with stage_run(pathlib.Path(sys.argv[1]), family='s', name=sys.argv[2], params={}) as run:\n"
        "    for step in range(20): run.metrics({'loss': step}, step)\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), name], stderr=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    configure(tmp_path)
    runs = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name(EXPERIMENT).experiment_id])
    assert sorted((run.info.run_name[0], run.info.status, run.data.metrics["loss"]) for run in runs) == [
        ("a", "FINISHED", 19.0),
        ("b", "FINISHED", 19.0),
    ]
    assert find_spools(tmp_path) == []


def test_an_outdated_schema_is_named_with_its_remedy(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    configure(tmp_path)
    old = tmp_path / "old" / "mlflow.db"
    old.parent.mkdir()
    with sqlite3.connect(tmp_path / "mlflow.db") as source, sqlite3.connect(old) as target:
        source.backup(target)
        target.execute("update alembic_version set version_num = '0123456789ab'")
    own_store.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UserError) as error:
        configure(tmp_path / "old")
    assert "another version of MLflow" in error.value.fault
    assert f"mlflow db upgrade sqlite:///{old}" in error.value.remedy


def test_a_deleted_experiment_is_named_with_the_command_that_brings_it_back(
    tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    uri = configure(tmp_path)
    client, number = mlflow.MlflowClient(), mlflow.get_experiment_by_name(EXPERIMENT).experiment_id
    client.delete_experiment(number)
    with pytest.raises(UserError) as error:
        configure(tmp_path)
    command = f"MLFLOW_TRACKING_URI={uri} mlflow experiments restore --experiment-id {number}"
    assert error.value.remedy.split("`")[1] == command
    client.restore_experiment(number)
    assert configure(tmp_path) == uri


def test_a_file_that_is_no_database_is_refused(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(UserError, match=r"mlflow\.db.*file is not a database"):
        configure(tmp_path)


def test_a_locked_database_is_an_outage_and_a_broken_one_is_not() -> None:
    for said, waits in (("database is locked", True), ("database disk image is malformed", False)):
        error = store_error("sqlite:////home/me/mlflow.db", sqlite3.OperationalError(said))
        assert isinstance(error, Unreachable) is waits
        assert error.fault.startswith("sqlite:////home/me/mlflow.db: ")


def test_a_folder_whose_name_is_not_utf8_is_refused() -> None:
    with pytest.raises(UserError, match=r"/\udcff: its name is not UTF-8.*; rename it$"):
        tracking_uri(Path("/home/me/\udcff"))


def test_a_folder_of_runs_is_refused_with_two_ways_out(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    own_store.setenv("MLFLOW_TRACKING_URI", (tmp_path / "mlruns").as_uri())
    with pytest.raises(UserError) as caught:
        configure(tmp_path)
    assert caught.value.fault.startswith((tmp_path / "mlruns").as_uri())
    assert "unset MLFLOW_TRACKING_URI" in caught.value.remedy
    assert "`mlflow migrate-filestore`" in caught.value.remedy


def test_a_server_that_leaves_files_to_clients_which_can_not_write_them_is_refused_before_training(
    tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    (tmp_path / "srv").write_text("no folder, as little as one of another machine")
    for place in (f"{tmp_path}/srv/1", f"file://{tmp_path}/srv/1"):
        with server_of(place) as uri:
            own_store.setenv("MLFLOW_TRACKING_URI", uri)
            with pytest.raises(UserError) as refused, stage_run(tmp_path, family="s", name="n", params={}):
                raise AssertionError
        assert refused.value.fault.startswith(f"{uri}: leaves the files of runs to its clients, in {tmp_path}/srv/1, ")
        assert "--artifacts-destination" in refused.value.remedy
    assert find_spools(tmp_path) == []
    for place in (f"{tmp_path}/1", "mlflow-artifacts:/1", "s3://art/1"):
        check_files(place)


def test_a_proxy_in_the_way_is_named(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: it refuses
        proxy = f"127.0.0.1:{taken.getsockname()[1]}"
        own_store.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
        own_store.setenv("http_proxy", f"http://me:secret@{proxy}")
        with pytest.raises(Unreachable) as caught:
            configure(tmp_path)
        assert f"http://…@{proxy}" in caught.value.remedy
        assert "`export NO_PROXY=tracking`" in caught.value.remedy
        own_store.setenv("no_proxy", "tracking")
        assert around_proxy("http://tracking:5000") == ""


def test_a_server_that_hangs_up_is_asked_once_and_its_password_not_told(
    tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:  # the test is over
                    return
                asked.append(1)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        own_store.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(Unreachable) as refused:
            configure(tmp_path)
        server.shutdown(socket.SHUT_RDWR)
    assert asked == [1]
    assert "secret" not in str(refused.value)
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ
