"""What a run logs while the store is away: the store is real, its outages are simulated."""

from __future__ import annotations

import json
import logging
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.tracking import courier, runs
from quantart.tracking.delivery import sync
from quantart.tracking.find import find_run
from quantart.tracking.lineage import DataUsed
from quantart.tracking.runs import SpooledRun, stage_run, stands_in
from quantart.tracking.spool import FOLDER, Spool, find_spools
from quantart.tracking.store import configure

DOWN = MlflowException("(sqlite3.OperationalError) database is locked")
PICTURE = np.full((8, 8, 3), 200, np.uint8)
KILLED = """
import os, pathlib, signal, sys, numpy
from quantart.tracking import courier, runs, store
def down(self): raise store.Unreachable("no store")
if sys.argv[2] == "at once":
    courier.Courier._deliver = down
with runs.stage_run(pathlib.Path(sys.argv[1]), family="s", name="killed", params={"a": 1}) as run:
    courier.Courier._deliver = down
    print(run.run_id, flush=True)
    for step in range(1, 5):
        run.metrics({"train/loss": step / 2}, step)
        run.image("val/grid", numpy.full((8, 8, 3), 200, numpy.uint8), step)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(courier, "GRACE", 0.1)
    monkeypatch.setattr(courier, "FIRST_PAUSE", 0.05)
    caplog.set_level(logging.INFO, "quantart")


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """A context in which every request of the background fails."""

    def down(*_: Any, **__: Any) -> Any:
        raise DOWN

    @contextmanager
    def away() -> Iterator[None]:
        with monkeypatch.context() as patch:
            for name in ("create_run", "update_run", "log_batch", "log_artifacts", "set_terminated"):
                patch.setattr(MlflowClient, name, down)
            yield

    return away


def history(run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in MlflowClient().get_metric_history(run_id, key)]


def pictures(run_id: str) -> list[str]:
    found = (
        re.search(r"images/(.+)\+timestamp\+.*\.png", f.path) for f in MlflowClient().list_artifacts(run_id, "images")
    )
    return sorted(name[1] for name in found if name)


def log_steps(run: SpooledRun, steps: range) -> None:
    for step in steps:
        run.metrics({"train/loss": step / 2}, step)
        run.image("val/grid", PICTURE, step)


def points(steps: range) -> list[tuple[int, float]]:
    return [(step, step / 2) for step in steps]


def grids(steps: range) -> list[str]:
    return [f"val~grid+step+{step}" for step in steps]


def killed(project: Path, when: str) -> str:
    """The id of a run whose process was killed, with four steps that were not delivered."""
    command = [sys.executable, "-c", KILLED, str(project), when]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    assert ended.returncode == -signal.SIGKILL
    return ended.stdout.strip()


def test_a_killed_process_leaves_what_it_logged_and_the_next_one_adds_no_step_twice(project: Path) -> None:
    local_id = killed(project, "at once")
    (project / FOLDER / local_id / ".9.123.partial").write_text('{"kind": "metr')
    with stage_run(project, family="s", name="killed", params={"a": 1}, run_id=local_id) as run:
        log_steps(run, range(3, 7))
    assert history(run.run_id, "train/loss") == points(range(1, 7))
    assert pictures(run.run_id) == grids(range(1, 7))
    found = MlflowClient().get_run(run.run_id)
    assert (found.info.status, found.data.params) == ("FINISHED", {"s.a": "1"})
    assert found.data.tags["local_id"] == local_id
    assert find_spools(project) == []


def test_a_run_that_was_delivered_goes_on_after_a_kill_without_doubling_steps(project: Path) -> None:
    with stage_run(project, family="s", name="first", params={}) as first:
        log_steps(first, range(1, 4))
    with stage_run(project, family="s", name="first", params={}, run_id=first.run_id) as again:
        log_steps(again, range(2, 6))
        again.metrics({"system/cpu": 1.0}, None)
    assert again.run_id == first.run_id
    assert history(first.run_id, "train/loss") == points(range(1, 6))
    assert pictures(first.run_id) == grids(range(1, 6))


def test_a_request_whose_answer_is_lost_is_not_logged_twice(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lost: set[tuple[str, int]] = set()

    def losing(name: str) -> Any:
        real = getattr(MlflowClient, name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = real(*arguments, **options)
            lost.add((name, number := len([each for each in lost if each[0] == name])))
            if number < 2:
                raise DOWN
            return result

        return call

    for name in ("create_run", "log_batch", "log_artifacts", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, losing(name))
    monkeypatch.setattr(courier, "GRACE", 60)
    with stage_run(project, family="s", name="lost", params={}) as run:
        log_steps(run, range(1, 4))
        for value in (1.0, 2.0):
            run.metrics({"system/cpu": value}, None)
            time.sleep(0.002)  # their time tells them apart
    assert history(run.run_id, "train/loss") == points(range(1, 4))
    assert history(run.run_id, "system/cpu") == [(0, 1.0), (1, 2.0)]
    assert pictures(run.run_id) == grids(range(1, 4))
    named = [each for each in MlflowClient().search_runs(["1"]) if str(each.info.run_name).startswith("lost")]
    assert [each.info.run_id for each in named] == [run.run_id]
    assert lost >= {("create_run", 0), ("log_batch", 1), ("log_artifacts", 1)}


def test_what_an_outage_leaves_is_delivered_by_sync_as_it_was_logged(
    project: Path, outage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("as it was")
    with outage():
        data = [DataUsed("content", "ab" * 32, "data", "training", 12)]
        with stage_run(project, family="s", name="outage", params={"a": 1}, datasets=data) as run:
            log_steps(run, range(1, 4))
            run.artifact(table, "pairs")
        local_id = run.run_id
        (spool,) = find_spools(project)
        events = [json.loads(path.read_bytes()) for path in spool.events()]
        assert not sync(project)
    told = caplog.text
    assert f"kept in {spool.folder}" in told
    assert f"{len(events)} entries of outage are kept: `quantart sync`" in told
    assert f"{len(events)} entries of 1 runs are kept" in told
    with pytest.raises(UserError) as error:
        find_run(local_id)
    assert (local_id in error.value.fault, "`quantart sync`" in error.value.remedy) == (True, True)
    assert sync(project)
    found = find_run(local_id)
    assert f"run {found.info.run_id}: {len(events)} entries delivered" in caplog.text
    assert found.info.status == "FINISHED"
    assert (found.info.start_time, found.info.end_time) == (events[0]["time"], events[-1]["time"])
    logged = [event for event in events if event["kind"] == "metrics"]
    losses = MlflowClient().get_metric_history(found.info.run_id, "train/loss")
    assert [(p.step, p.timestamp) for p in losses] == [(event["step"], event["time"]) for event in logged]
    assert pictures(found.info.run_id) == grids(range(1, 4))
    assert [file.path for file in MlflowClient().list_artifacts(found.info.run_id, "pairs")] == ["pairs/table.csv"]
    assert [used.dataset.name for used in found.inputs.dataset_inputs] == ["content"]
    assert sync(project)
    assert "nothing to deliver" in caplog.text


def test_the_next_run_delivers_the_earlier_one_and_stands_on_it(project: Path, outage: Any) -> None:
    with outage(), stage_run(project, family="stage1", name="earlier", params={}) as earlier:
        earlier.metrics({"train/loss": 1.0}, 1)
    local_id = earlier.run_id
    with stage_run(project, family="stage2", name="later", params={}, upstream={"stage1": local_id}) as later:
        pass
    found = find_run(local_id)
    assert found.info.status == "FINISHED"
    tags = MlflowClient().get_run(later.run_id).data.tags
    assert tags["upstream.stage1"] == found.info.run_id
    assert f"/runs/{found.info.run_id})" in tags["mlflow.note.content"]
    assert find_spools(project) == []


def test_sync_ends_a_run_whose_process_was_killed(project: Path) -> None:
    run_id = killed(project, "later")
    assert find_run(run_id).info.status == "RUNNING"
    assert sync(project)
    assert find_run(run_id).info.status == "FAILED"
    assert history(run_id, "train/loss") == points(range(1, 5))


def test_a_store_that_refuses_one_run_gets_the_others(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    uri = configure(project)
    for run_id in ("0" * 32, None):
        spool = Spool.create(project, uri, run_id=run_id)
        spool.append("start", name="left", tags={}, params={}, datasets=[], time=1_000)
        spool.append("end", status="FINISHED", time=2_000)
        spool.lock.release()
    refused, accepted = find_spools(project)
    assert not sync(project)
    assert f"remove {refused.folder}" in caplog.text
    assert find_run(accepted.local_id).info.end_time == 2_000
    refused.remove()


def test_a_run_that_was_deleted_is_not_resumed(project: Path) -> None:
    with stage_run(project, family="s", name="s_one", params={}) as run:
        log_steps(run, range(1, 3))
    MlflowClient().delete_run(run.run_id)
    resumed = stage_run(project, family="s", name="s_one", params={}, run_id=run.run_id)
    with pytest.raises(UserError) as refused, resumed:
        raise AssertionError
    assert f"mlflow runs restore --run-id {run.run_id}`" in refused.value.remedy
    assert ".quantart/checkpoints/s_one" in refused.value.remedy
    assert find_spools(project) == []
    MlflowClient().restore_run(run.run_id)
    with stage_run(project, family="s", name="s_one", params={}, run_id=run.run_id) as again:
        log_steps(again, range(3, 5))
    assert history(run.run_id, "train/loss") == points(range(1, 5))


def test_a_run_that_is_deleted_while_it_is_written_comes_back_whole(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with stage_run(project, family="s", name="s_one", params={}) as run:
        MlflowClient().delete_run(run.run_id)
        log_steps(run, range(1, 3))
    restore = f"mlflow runs restore --run-id {run.run_id}`"
    assert restore in caplog.text
    caplog.clear()
    assert not sync(project)
    assert restore in caplog.text
    MlflowClient().restore_run(run.run_id)
    assert sync(project)
    assert history(run.run_id, "train/loss") == points(range(1, 3))
    assert find_run(run.run_id).info.status == "FINISHED"


def test_what_belongs_to_another_store_stays(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool.create(project, "http://…@elsewhere:5000")
    spool.lock.release()
    assert sync(project)
    assert "http://…@elsewhere:5000: set MLFLOW_TRACKING_URI" in caplog.text
    with stage_run(project, family="s", name="here", params={}):
        pass
    assert spool.exists()
    spool.remove()


def test_a_run_that_is_being_written_is_left_to_its_process(project: Path, caplog: pytest.LogCaptureFixture) -> None:
    with stage_run(project, family="s", name="running", params={}) as run:
        (spool,) = find_spools(project)
        assert sync(project)
        assert f"{spool.folder}: its training is still running" in caplog.text
        run.metrics({"train/loss": 1.0}, 1)
    assert history(run.run_id, "train/loss") == [(1, 1.0)]
    assert find_run(run.run_id).info.status == "FINISHED"


def test_a_server_that_is_down_at_the_start_is_no_reason_to_stop(
    tmp_path: Path, own_store: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own_store.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    began = time.monotonic()
    with stage_run(tmp_path, family="s", name="alone", params={}) as run:
        run.metrics({"train/loss": 1.0}, 1)
    assert time.monotonic() - began < 30
    (spool,) = find_spools(tmp_path)
    assert "the tracking server does not answer" in caplog.text
    assert "3 entries of alone are kept" in caplog.text
    assert run.run_id == spool.local_id
    assert b"secret" not in b"".join(path.read_bytes() for path in spool.folder.rglob("*") if path.is_file())
    assert "secret" not in caplog.text


@contextmanager
def answering(status: int, own_store: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs go to a server that answers with this status whatever it is asked."""

    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own_store.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_refuses_access_stops_the_start(
    status: int, tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    name: dict[str, Any] = {"family": "s", "name": "n", "params": {}}
    with answering(status, own_store), pytest.raises(UserError) as error, stage_run(tmp_path, **name):
        raise AssertionError
    assert str(status) in error.value.fault
    assert find_spools(tmp_path) == []


@pytest.mark.parametrize("status", [500, 503])
def test_a_server_that_fails_is_waited_for_and_said_to_fail(
    status: int, tmp_path: Path, own_store: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with answering(status, own_store), stage_run(tmp_path, family="s", name="n", params={}) as run:
        run.metrics({"train/loss": 1.0}, 1)
    assert f"the tracking server answers with error {status}" in caplog.text
    assert "does not answer;" not in caplog.text
    assert len(find_spools(tmp_path)) == 1


def test_an_address_of_no_host_stops_the_start(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    own_store.setenv("MLFLOW_TRACKING_URI", "http://no-such-host.invalid:5000")
    with pytest.raises(UserError) as error, stage_run(tmp_path, family="s", name="n", params={}):
        raise AssertionError
    assert "no-such-host.invalid" in error.value.fault
    assert "MLFLOW_TRACKING_URI" in error.value.remedy
    assert find_spools(tmp_path) == []


def lose_the_others(project: Path) -> None:
    with pytest.raises(RuntimeError, match="Connection closed"), stands_in(project):
        raise RuntimeError("Connection closed by peer")


def test_another_process_of_the_training_ends_the_run_of_the_killed_one(project: Path) -> None:
    run_id = killed(project, "later")
    lose_the_others(project)
    assert find_run(run_id).info.status == "FAILED"
    assert history(run_id, "train/loss") == points(range(1, 5))
    assert find_spools(project) == []


def test_what_the_store_does_not_take_then_is_kept_with_one_end(
    project: Path, outage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = killed(project, "later")
    with outage():
        lose_the_others(project)
        lose_the_others(project)
    assert "entries of 1 runs are kept" in caplog.text
    (spool,) = find_spools(project)
    assert [json.loads(path.read_bytes())["kind"] for path in spool.events()].count("end") == 1
    lose_the_others(project)
    assert find_run(run_id).info.status == "FAILED"


def test_a_run_whose_tracking_process_lives_is_left_to_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "PROBE", 0.1)
    with stage_run(project, family="stage1", name="stage1_base", params={}) as run:
        lose_the_others(project)
        assert find_run(run.run_id).info.status == "RUNNING"
    assert find_run(run.run_id).info.status == "FINISHED"
