"""What happens to what is logged when the store is away: the store is real, its outages are made."""

import json
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
from quantart.tracking import courier
from quantart.tracking.delivery import Delivery
from quantart.tracking.find import find_run
from quantart.tracking.runs import DataUsed
from quantart.tracking.session import SpooledRun, stage_run
from quantart.tracking.spool import FOLDER, Spool, find_spools
from quantart.tracking.store import configure
from quantart.tracking.sync import sync

DOWN = MlflowException("(sqlite3.OperationalError) database is locked")
PICTURE = np.full((8, 8, 3), 200, np.uint8)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "GRACE", 0.1)
    monkeypatch.setattr(courier, "FIRST_PAUSE", 0.05)


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """A context in which every request of the background fails."""

    def down(*_: Any, **__: Any) -> Any:
        raise DOWN

    @contextmanager
    def away() -> Iterator[None]:
        with monkeypatch.context() as patch:
            for name in ("create_run", "update_run", "log_batch", "log_artifacts", "set_tag", "set_terminated"):
                patch.setattr(MlflowClient, name, down)
            yield

    return away


def history(run_id: str, key: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in MlflowClient().get_metric_history(run_id, key)]


def pictures(run_id: str) -> list[str]:
    found = (
        re.search(r"images/(.+)\+timestamp\+.*\.png", f.path) for f in MlflowClient().list_artifacts(run_id, "images")
    )
    return [name[1] for name in found if name]


def log_steps(run: SpooledRun, steps: range) -> None:
    for step in steps:
        run.metrics({"train/loss": step / 2}, step)
        run.image("val/grid", PICTURE, step)


def test_a_killed_process_leaves_what_it_logged_and_the_next_one_adds_no_step_twice(project: Path) -> None:
    code = (
        "import os, pathlib, signal, sys, numpy\n"
        "from quantart.tracking import courier, session\n"
        "def down(self): raise OSError('no store')\n"
        "courier.Courier._deliver = down\n"
        "session._check_start = lambda *_: None\n"
        "with session.stage_run(pathlib.Path(sys.argv[1]), stage='s', name='killed', params={'a': 1}) as run:\n"
        "    print(run.run_id)\n"
        "    for step in range(1, 5):\n"
        "        run.metrics({'train/loss': step / 2}, step)\n"
        "        run.image('val/grid', numpy.full((8, 8, 3), 200, numpy.uint8), step)\n"
        "    sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(project)], stdout=subprocess.PIPE, text=True)
    assert killed.returncode == -signal.SIGKILL
    local_id = killed.stdout.strip()
    with (project / FOLDER / local_id / "events.jsonl").open("a") as file:
        file.write('{"kind": "metr')
    with stage_run(project, stage="s", name="killed", params={"a": 1}, run_id=local_id) as run:
        log_steps(run, range(3, 7))
    assert history(run.run_id, "train/loss") == [(step, step / 2) for step in range(1, 7)]
    assert sorted(pictures(run.run_id)) == [f"val~grid+step+{step}" for step in range(1, 7)]
    found = MlflowClient().get_run(run.run_id)
    assert (found.info.status, found.data.params) == ("FINISHED", {"s.a": "1"})
    assert found.data.tags["local_id"] == local_id
    assert find_spools(project) == []


def test_a_run_that_was_delivered_goes_on_after_a_kill_without_doubling_steps(project: Path) -> None:
    with stage_run(project, stage="s", name="first", params={}) as first:
        log_steps(first, range(1, 4))
    with stage_run(project, stage="s", name="first", params={}, run_id=first.run_id) as again:
        log_steps(again, range(2, 6))
        again.samples({"system/cpu": 1.0})
    assert again.run_id == first.run_id
    assert history(first.run_id, "train/loss") == [(step, step / 2) for step in range(1, 6)]
    assert sorted(pictures(first.run_id)) == [f"val~grid+step+{step}" for step in range(1, 6)]


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

    for name in ("create_run", "log_batch", "log_artifacts", "log_artifact", "set_tag", "set_terminated"):
        monkeypatch.setattr(MlflowClient, name, losing(name))
    monkeypatch.setattr(courier, "GRACE", 60)
    with stage_run(project, stage="s", name="lost", params={}) as run:
        log_steps(run, range(1, 4))
        for value in (1.0, 2.0):
            run.samples({"system/cpu": value})
            time.sleep(0.002)  # their time tells them apart
    assert history(run.run_id, "train/loss") == [(step, step / 2) for step in range(1, 4)]
    assert history(run.run_id, "system/cpu") == [(0, 1.0), (1, 2.0)]
    assert sorted(pictures(run.run_id)) == [f"val~grid+step+{step}" for step in range(1, 4)]
    assert [found.info.run_id for found in named("lost")] == [run.run_id]
    assert lost >= {("create_run", 0), ("log_batch", 1), ("log_artifacts", 1)}


def named(name: str) -> list[Any]:
    return [run for run in MlflowClient().search_runs(["1"]) if str(run.info.run_name).startswith(name)]


def test_what_an_outage_leaves_is_delivered_by_sync_as_it_was_logged(
    project: Path, outage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "table.csv"
    table.write_text("as it was")
    with outage():
        data = [DataUsed("content", "ab" * 32, "data", "training", 12)]
        with stage_run(project, stage="s", name="outage", params={"a": 1}, datasets=data) as run:
            log_steps(run, range(1, 4))
            run.artifact(table, "pairs")
        local_id = run.run_id
        told = capsys.readouterr().err
        assert not sync(project)
    assert "Training goes on; what it logs is kept in" in told
    assert re.search(r"\d+ entries of outage are kept: `quantart sync` delivers them", told)
    assert "entries of 1 runs are kept" in capsys.readouterr().out
    events = [json.loads(line) for line in (project / FOLDER / local_id / "events.jsonl").read_text().splitlines()]
    with pytest.raises(UserError, match=f"{local_id}: began while the tracking server was down.*`quantart sync`"):
        find_run(local_id)
    assert sync(project)
    found = find_run(local_id)
    assert f"run {found.info.run_id}: {len(events)} entries delivered" in capsys.readouterr().out
    assert found.info.status == "FINISHED"
    assert (found.info.start_time, found.info.end_time) == (events[0]["time"], events[-1]["time"])
    points = MlflowClient().get_metric_history(found.info.run_id, "train/loss")
    logged = [event for event in events if event["kind"] == "metrics"]
    assert [(p.step, p.timestamp) for p in points] == [(event["step"], event["time"]) for event in logged]
    assert sorted(pictures(found.info.run_id)) == [f"val~grid+step+{step}" for step in range(1, 4)]
    assert [file.path for file in MlflowClient().list_artifacts(found.info.run_id, "pairs")] == ["pairs/table.csv"]
    assert [used.dataset.name for used in found.inputs.dataset_inputs] == ["content"]
    assert sync(project)
    assert "nothing to deliver" in capsys.readouterr().out


def test_the_next_run_delivers_the_earlier_one_and_stands_on_it(project: Path, outage: Any) -> None:
    with outage(), stage_run(project, stage="stage1", name="earlier", params={}) as earlier:
        earlier.metrics({"train/loss": 1.0}, 1)
    local_id = earlier.run_id
    with stage_run(project, stage="stage2", name="later", params={}, upstream={"stage1": local_id}) as later:
        pass
    found = find_run(local_id)
    assert found.info.status == "FINISHED"
    tags = MlflowClient().get_run(later.run_id).data.tags
    assert tags["upstream.stage1"] == found.info.run_id
    assert f"/runs/{found.info.run_id})" in tags["mlflow.note.content"]
    assert find_spools(project) == []


def test_a_store_that_refuses_one_run_gets_the_others(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = configure(project)
    for run_id in ("0" * 32, None):
        spool = Spool.create(project, uri, run_id=run_id)
        spool.append("start", name="left", tags={}, datasets=[], time=1_000)
        spool.append("end", status="FINISHED", time=2_000)
        spool.lock.release()
    refused, accepted = find_spools(project)
    assert not sync(project)
    assert f"if the run is not wanted any more, remove {refused.folder}" in capsys.readouterr().out
    assert find_run(accepted.local_id).info.end_time == 2_000
    refused.remove()


def test_what_belongs_to_another_store_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spool = Spool.create(project, "http://…@elsewhere:5000")
    spool.lock.release()
    assert sync(project)
    assert "of the store http://…@elsewhere:5000: set MLFLOW_TRACKING_URI" in capsys.readouterr().out
    with stage_run(project, stage="s", name="here", params={}):
        pass
    assert spool.exists()
    spool.remove()


def test_a_run_that_is_being_written_is_left_to_its_process(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with stage_run(project, stage="s", name="running", params={}) as run:
        assert sync(project)
        run.metrics({"train/loss": 1.0}, 1)
    assert "its training still runs and delivers it by itself" in capsys.readouterr().out
    assert history(run.run_id, "train/loss") == [(1, 1.0)]


def test_a_server_that_is_down_at_the_start_is_no_reason_to_stop(
    tmp_path: Path, own_store: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_store.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with stage_run(tmp_path, stage="s", name="alone", params={}) as run:
        run.metrics({"train/loss": 1.0}, 1)
    told = capsys.readouterr().err
    assert "the tracking server does not answer" in told
    assert "5 entries of alone are kept" in re.sub(r"\d+ entries", "5 entries", told)
    spool = find_spools(tmp_path)[0]
    assert run.run_id == spool.local_id
    assert b"secret" not in b"".join(path.read_bytes() for path in spool.folder.rglob("*") if path.is_file())
    assert "secret" not in told


@pytest.mark.parametrize(("status", "said"), [(401, "401"), (403, "403")])
def test_a_server_that_refuses_us_stops_the_start(
    status: int, said: str, tmp_path: Path, own_store: pytest.MonkeyPatch
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(status)

        def log_message(self, *_: Any) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        own_store.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        with pytest.raises(UserError, match=said), stage_run(tmp_path, stage="s", name="n", params={}):
            raise AssertionError
        server.shutdown()
    assert find_spools(tmp_path) == []


def test_an_address_of_no_host_stops_the_start(tmp_path: Path, own_store: pytest.MonkeyPatch) -> None:
    own_store.setenv("MLFLOW_TRACKING_URI", "http://no-such-host.invalid:5000")
    with (
        pytest.raises(UserError, match="no tracking server can be there.*mend MLFLOW_TRACKING_URI"),
        stage_run(tmp_path, stage="s", name="n", params={}),
    ):
        raise AssertionError
    assert find_spools(tmp_path) == []


def test_a_full_disk_is_said_and_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool.create(tmp_path, "somewhere")
    spool.append("tags", tags={"a": "b"})
    real = Path.open

    def full(self: Path, *arguments: Any, **options: Any) -> Any:
        file = real(self, *arguments, **options)
        if self.name == "events.jsonl" and arguments[0] == "ab":

            class Full:
                def __enter__(self) -> "Full":
                    return self

                def __exit__(self, *_: Any) -> None:
                    file.close()

                def write(self, line: bytes) -> int:
                    return file.write(line[:7])

            return Full()
        return file

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", full)
        with pytest.raises(UserError, match="what the run logs can't be kept: no space left; make room first"):
            spool.append("tags", tags={"c": "d"})
    spool.append("tags", tags={"e": "f"})
    lines = (spool.folder / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["tags"] for line in lines] == [{"a": "b"}, {"e": "f"}]


def test_what_was_delivered_is_noted_on_disk_so_that_the_next_process_begins_after_it(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, "sqlite:///none.db")
    for step in range(3):
        spool.append("metrics", values={"loss": 1.0}, step=step, time=0)
    delivery = Delivery(spool)
    delivery._deliver = lambda event: None  # type: ignore[method-assign]
    assert delivery.next()
    spool.lock.release()  # as the kernel does for a process that is killed
    (found,) = find_spools(tmp_path)
    assert found.left() == 2
    following = found.next()
    assert following is not None
    assert following[0]["step"] == 1
