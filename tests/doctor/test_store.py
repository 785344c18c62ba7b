"""The tracking store as it may be found: not there, outdated, damaged, a server that is down."""

from __future__ import annotations

import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from quantart.doctor import Finding, State
from quantart.doctor.store import check_delivered, check_experiment, check_registry, check_schema, check_tracking
from quantart.errors import UserError
from quantart.tracking.spool import Spool

from ..tracking.leaving import server_of
from ..unprivileged import open_folder, without_privileges

CHECKS = (check_tracking, check_schema, check_registry)
ODD = "100% 'art' #1?"
FILL = """
import sys, pathlib
from mlflow import MlflowClient
from quantart.tracking.store import configure
configure(pathlib.Path(sys.argv[1]))
client = MlflowClient()
run = client.create_run(client.get_experiment_by_name("quantart").experiment_id)
client.log_text(run.info.run_id, "weights", "model/model")
client.set_terminated(run.info.run_id)
client.create_registered_model("quantart")
version = client.create_model_version("quantart", run.info.artifact_uri, run.info.run_id)
client.set_registered_model_alias("quantart", "champion", version.version)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a registered model, as MLflow makes it."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        subprocess.run([sys.executable, "-c", FILL, str(folder)], check=True, capture_output=True)
    return folder / "mlflow.db"


@pytest.fixture
def database(made: Path, project: Path) -> Path:
    return Path(shutil.copy(made, project / "mlflow.db"))


@pytest.fixture
def silent() -> Iterator[str]:
    """Address of a port at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: it stays free and refuses
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def test_what_was_logged_without_the_server_is_counted(project: Path) -> None:
    assert check_delivered(project).state is State.ok
    spool = Spool.create(project, "http://elsewhere:5000")
    spool.append("tags", tags={"a": "b"})
    spool.append("tags", tags={"c": "d"})
    row = check_delivered(project)
    assert (row.state, row.found.split()[:5]) == (State.warning, ["2", "entries", "of", "1", "runs"])
    assert "`quantart sync`" in row.remedy
    spool.events()[0].unlink()
    assert "1 entries" in check_delivered(project).found


def results(project: Path) -> list[Finding]:
    return [check(project) for check in CHECKS]


def test_before_the_first_run_there_is_no_database_and_none_is_made(project: Path) -> None:
    rows = results(project)
    assert [row.state for row in rows] == [State.ok] * 3
    assert rows[0].found.startswith(f"{project}/mlflow.db: ")
    assert not list(project.glob("ml*"))


def test_a_database_as_it_should_be_is_left_as_it_was(
    project: Path, database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = database.read_bytes()
    rows = results(project)
    assert [row.state for row in rows] == [State.ok] * 3, rows
    assert rows[2].found == "quantart: champion is version 1"
    assert database.read_bytes() == before
    assert [path.name for path in project.glob("ml*")] == ["mlflow.db"]
    assert [path.name for path in tmp_path.iterdir()] == ["project"]


def test_a_deleted_experiment_fails_with_the_command_that_brings_it_back(project: Path, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("update experiments set lifecycle_stage = 'deleted' where name = 'quantart'")
    connection.close()
    row = check_experiment(project)
    assert (row.state, "mlflow experiments restore --experiment-id 1`" in row.remedy) == (State.fails, True)


def test_the_files_of_runs_are_looked_for(project: Path, made: Path, database: Path) -> None:
    assert check_experiment(project).state is State.ok  # a database alone, whose files are where it says
    shutil.copytree(made.parent / "mlartifacts", project / "mlartifacts")
    moved = check_experiment(project)
    assert (moved.state, (made.parent / "mlartifacts").as_uri() in moved.found) == (State.warning, True)
    shutil.rmtree(project / "mlartifacts")
    (project / "mlartifacts").mkdir()
    lost = check_experiment(project)
    assert (lost.state, "1 of 1 finished runs" in lost.found) == (State.warning, True)
    assert (project / "mlartifacts").as_uri() in lost.found
    for change in ("lifecycle_stage = 'deleted'", "lifecycle_stage = 'active', status = 'RUNNING'"):
        with sqlite3.connect(database) as connection:
            connection.execute(f"update runs set {change}")
        connection.close()
        assert "was moved or copied" in check_experiment(project).found  # and nothing is lost


def test_a_folder_of_any_name_is_examined_and_nothing_made_beside_it(project: Path, database: Path) -> None:
    odd = project.rename(project.with_name(ODD))
    rows = [*results(odd), check_experiment(odd)]
    assert [row.state for row in rows] == [State.ok] * 4, rows
    assert [path.name for path in odd.parent.iterdir()] == [ODD]


def test_another_name_to_export_to_is_not_registered_yet(project: Path, database: Path) -> None:
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("name: quantart", "name: mine"))
    row = check_registry(project)
    assert (row.state, "'mine'" in row.found) == (State.ok, True)


def test_an_outdated_schema_fails_with_the_command_that_upgrades_it(project: Path, database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute("update alembic_version set version_num = '0123456789ab'")
    connection.close()
    tracking, schema, registry = results(project)
    assert tracking.state is State.ok
    assert (schema.state, schema.found.startswith("0123456789ab")) == (State.fails, True)
    assert f"`mlflow db upgrade sqlite:///{database}`" in schema.remedy
    assert (registry.state, registry.remedy) == (State.fails, schema.remedy)


def test_a_database_that_is_another_programs_fails(project: Path) -> None:
    with sqlite3.connect(project / "mlflow.db") as connection:
        connection.execute("create table mine (x)")
    connection.close()
    row = check_schema(project)
    assert (row.state, "MLFLOW_TRACKING_URI" in row.remedy) == (State.fails, True)


def test_a_file_that_is_no_database_fails(project: Path) -> None:
    (project / "mlflow.db").write_bytes(b"not a database at all" * 100)
    row = check_tracking(project)
    assert (row.state, row.found.startswith(f"{project}/mlflow.db: ")) == (State.fails, True)
    assert check_registry(project).state is State.fails


def test_a_database_that_may_not_be_written_fails() -> None:
    with open_folder() as root:
        (root / "mlflow.db").write_bytes(b"SQLite format 3\0")
        (root / "mlflow.db").chmod(0o444)
        with without_privileges():
            row = check_tracking(root)
    assert (row.state, f"`chmod u+w {root}/mlflow.db`" in row.remedy) == (State.fails, True)


def test_a_database_that_can_not_be_made_fails() -> None:
    with open_folder() as root:
        root.chmod(0o555)
        with without_privileges(), pytest.raises(UserError) as caught:
            check_tracking(root)
    assert str(root) in caught.value.fault
    assert "Permission denied" in caught.value.fault


def test_a_server_that_is_down_fails_at_once_and_its_password_is_not_told(
    project: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@{silent}")
    tracking, schema, registry = results(project)
    assert tracking.state is registry.state is State.fails
    assert tracking.found.startswith(f"http://…@{silent}: ")
    assert "MLFLOW_TRACKING_URI" in tracking.remedy
    assert schema.state is State.ok
    assert "secret" not in repr((tracking, schema, registry))


@pytest.mark.parametrize(("status", "state"), [(200, State.ok), (404, State.fails)])
def test_a_server_is_asked_for_its_health(
    status: int, state: State, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}/below/")
        row = check_tracking(project)
        server.shutdown()
    assert (row.state, asked) == (state, ["/below/health"])


def test_a_server_that_leaves_files_to_its_clients_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place, state in (("/srv/mlruns/1", State.warning), ("mlflow-artifacts:/1", State.ok)):
        with server_of(place) as uri:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
            row = check_experiment(project)
        assert (row.state, place in row.found) == (state, state is State.warning)
        assert ("--artifacts-destination" in row.remedy) is (state is State.warning)


def test_a_server_behind_a_proxy_is_asked_as_mlflow_asks_it(
    project: Path, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{silent}")
    row = check_tracking(project)
    assert (row.state, "secret" in repr(row)) == (State.fails, False)
    assert f"http://…@{silent}" in row.remedy
    assert "`export NO_PROXY=tracking`" in row.remedy


def test_a_folder_of_runs_is_no_store_any_more(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "./mlruns")
    rows = results(project)
    assert [row.state for row in rows] == [State.fails] * 3
    assert all(row.remedy.endswith("or unset it to use the project's own database") for row in rows)


def test_a_database_server_that_is_down_fails(project: Path, silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"mssql://me:secret@{silent}/runs")
    row = check_tracking(project)
    assert (row.state, "secret" in repr(row)) == (State.fails, False)


def test_an_address_of_nothing_fails(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere")
    row = check_tracking(project)
    assert (row.state, row.found.startswith("nowhere: ")) == (State.fails, True)
