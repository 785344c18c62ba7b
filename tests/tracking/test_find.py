"""Runs by what a user types, in a real store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from quantart.errors import UserError
from quantart.tracking.find import find_model, find_run, linked_run, run_in_words, select_runs
from quantart.tracking.links import RunLink, write_link
from quantart.tracking.runs import stage_run
from quantart.tracking.store import configure


@pytest.fixture(autouse=True)
def store(project: Path) -> None:
    configure(project)


def made(name: str, *, status: str = "FINISHED", experiment: str = "quantart") -> Run:
    """A run with nothing in it."""
    client = MlflowClient()
    place = mlflow.get_experiment_by_name(experiment)
    number = place.experiment_id if place else client.create_experiment(experiment)
    run = client.create_run(number, run_name=name, tags={"stage": "stage2"})
    client.set_terminated(run.info.run_id, status)
    return client.get_run(run.info.run_id)


def trained(project: Path, name: str) -> Run:
    folder = project / "network"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text("{}")
    with stage_run(project, family="stage2", name=name, params={}) as run:
        run.metrics({"loss": 1.0}, 1)
        run.artifact(folder, "model")
    return MlflowClient().get_run(run.run_id)


def test_an_id_its_beginning_and_a_name_lead_to_a_run_of_any_experiment() -> None:
    run = made("elsewhere", experiment="another")
    run_id = run.info.run_id
    for text in (run_id, run_id[:12], "elsewhere", f" {run_id} "):
        assert find_run(text).info.run_id == run_id
    with pytest.raises(UserError, match=f"run {run_id[:3]} is not in") as error:
        find_run(run_id[:3])
    assert "at least 4 characters" in error.value.remedy
    with pytest.raises(UserError, match=f"run {'0' * 32} is not in .* sqlite:"):
        find_run("0" * 32)


def test_a_deleted_run_is_named_with_the_command_that_brings_it_back() -> None:
    client, local_id = MlflowClient(), "local-20260131120000000000-0d0d0d0d"
    run_id = made("deleted").info.run_id
    client.set_tag(run_id, "local_id", local_id)
    client.delete_run(run_id)
    for text in (run_id, run_id[:12], "deleted", local_id):
        with pytest.raises(UserError, match=f"^run {run_id[:8]} ") as error:
            find_run(text)
        assert error.value.remedy.startswith(f"`MLFLOW_TRACKING_URI={mlflow.get_tracking_uri()} mlflow runs restore")
        assert f" --run-id {run_id}`" in error.value.remedy
    client.restore_run(run_id)
    assert find_run(local_id).info.run_id == run_id


def test_the_part_of_a_unique_name_before_its_mark_is_enough() -> None:
    run, other = made("stage2@0011aabb"), made("stage2_discrete@2233ccdd")
    assert find_run("stage2").info.run_id == run.info.run_id
    assert find_run("stage2_discrete").info.run_id == other.info.run_id
    with pytest.raises(UserError, match="run stage2_disc is not in"):
        find_run("stage2_disc")
    made("stage2@4455eeff")
    with pytest.raises(UserError, match="run stage2: names 2 runs"):
        find_run("stage2")


@pytest.mark.parametrize("name", ["it's", "a \"quoted\" 'one'", "100 %", "under_score", "back\\slash", "öl, 油画"])
def test_a_name_is_taken_as_it_is(name: str) -> None:
    run = made(name)
    assert find_run(name).info.run_id == run.info.run_id
    for other in ("' or attributes.status = 'FINISHED", "%", "under-score"):
        with pytest.raises(UserError, match="is not in"):
            find_run(other)


def test_what_names_several_runs_lists_them() -> None:
    runs = [made("twice"), made("twice")]
    with pytest.raises(UserError, match="run twice: names 2 runs") as error:
        find_run("twice")
    for run in runs:
        assert run_in_words(run) in error.value.fault
        assert f"({run.info.run_name}, 20" in run_in_words(run)


def test_the_latest_runs_come_oldest_first() -> None:
    for number in range(5):
        made(f"many-{number}", experiment="pages")
    assert [run.info.run_name for run in select_runs(experiment="pages")] == [f"many-{n}" for n in range(5)]
    assert [run.info.run_name for run in select_runs(3, "pages")] == ["many-2", "many-3", "many-4"]


def test_runs_are_selected_by_experiment_stage_status_and_filter() -> None:
    client = MlflowClient()
    good, failed, other = (made(name, experiment="chosen") for name in ("good", "failed", "other"))
    client.set_terminated(failed.info.run_id, "FAILED")
    client.set_tag(other.info.run_id, "stage", "stage1")
    assert [run.info.run_id for run in select_runs(9, "chosen")] == [good.info.run_id]
    found = select_runs(experiment="chosen", filter="attributes.run_name LIKE '%o%'")
    assert {run.info.run_id for run in found} == {good.info.run_id, other.info.run_id}
    with pytest.raises(UserError, match="filter 'variant is discrete'") as error:
        select_runs(filter="variant is discrete")
    assert "stage2.variant" in error.value.remedy
    with pytest.raises(UserError, match="experiment chosn") as error:
        select_runs(experiment="chosn")
    assert "chosen" in error.value.remedy


def test_a_model_comes_with_its_run_and_each_way_of_having_none_is_a_sentence(project: Path, tmp_path: Path) -> None:
    run = trained(project, "with model")
    assert (find_model(run, tmp_path) / "config.json").read_text() == "{}"

    with pytest.raises(UserError, match="is FAILED"):
        find_model(made("broken", status="FAILED"), tmp_path)
    with pytest.raises(UserError, match=r"\(empty, .*\) has no model at "):
        find_model(made("empty"), tmp_path)
    shutil.rmtree(Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id)))
    with pytest.raises(UserError, match=r"\(with model@\w+, .*\): its model's files are gone"):
        find_model(run, tmp_path)


def test_a_link_leads_to_its_run_or_to_none_where_the_store_does_not_know_it(project: Path, tmp_path: Path) -> None:
    path = tmp_path / "stage2.json"
    assert linked_run(path) is None
    run = made("linked")
    for run_id in ("0" * 32, "local-20260131120000000000-1a2b3c4d"):
        write_link(path, RunLink("stage2", run_id, "quantart"))
        assert linked_run(path) is None
    write_link(path, RunLink("stage2", run.info.run_id, "quantart"))
    found = linked_run(path)
    assert found is not None
    assert found.info.run_id == run.info.run_id
    MlflowClient().set_tag(run.info.run_id, "local_id", "local-20260131120000000000-1a2b3c4d")
    write_link(path, RunLink("stage2", "local-20260131120000000000-1a2b3c4d", "quantart"))
    found = linked_run(path)
    assert found is not None
    assert found.info.run_id == run.info.run_id
    MlflowClient().delete_run(run.info.run_id)
    assert linked_run(path) is None


class Artifacts(ThreadingHTTPServer):
    """An artifact server whose list of a run's files is what a test says."""

    listed = ""


class Answers(BaseHTTPRequestHandler):
    server: Artifacts

    def do_GET(self) -> None:
        lists = "?path=" in self.path or self.path.endswith("/artifacts")
        files = {"files": [{"path": self.server.listed, "is_dir": False, "file_size": 4}]}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(files).encode() if lists else b"data")

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def artifacts() -> Iterator[Artifacts]:
    server = Artifacts(("127.0.0.1", 0), Answers)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_an_artifact_whose_name_leads_out_of_the_folder_is_refused(artifacts: Artifacts, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{artifacts.server_port}/api/2.0/mlflow-artifacts/artifacts"
    client = MlflowClient()
    run = client.create_run(client.create_experiment("from outside", artifact_location=address))
    client.set_terminated(run.info.run_id, "FINISHED")
    run = client.get_run(run.info.run_id)
    inside = tmp_path / "deep" / "er"
    inside.mkdir(parents=True)
    outside = tmp_path / "outside"
    for artifacts.listed in ("../../outside", "a/../../../outside", str(outside), "%2e%2e/%2e%2e/outside"):
        with pytest.raises(UserError, match="its model's files at"):
            find_model(run, inside)
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    artifacts.listed = "config.json"
    assert (find_model(run, inside) / "config.json").read_text() == "data"
