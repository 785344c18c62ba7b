"""A real tracking server that dies while a real training writes to it: its history is that of an undisturbed run."""

import hashlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from mlflow import MlflowClient
from mlflow.entities import Run

from quantart.tracking.links import read_link
from quantart.tracking.spool import FOLDER, find_spools, is_local_id
from tests.test_end_to_end import REPOSITORY, TINY, set_params

pytestmark = pytest.mark.faults
STEPS = 120
PARAMS = TINY | {
    "stage1.base.steps": STEPS,
    "stage1.base.log_every": 1,
    "stage1.base.validate_every": 40,
    "stage1.base.checkpoint_every": 10,
}
SPEED = ("train/images_per_second", "train/data_wait_share")
LOSS = "train/total_loss"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class Server:
    """`mlflow server` on a port of its own, which can be killed and started again on what it stored."""

    def __init__(self, folder: Path, database: str = "", files: str = "") -> None:
        self.port = free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        self.database = database or f"sqlite:///{folder}/runs.db"
        self.files = files or str(folder / "artifacts")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        store = ["--backend-store-uri", self.database, "--artifacts-destination", self.files]
        command = [sys.executable, "-m", "mlflow", "server", *store, "--workers", "1", "--port", str(self.port)]
        options: dict[str, Any] = {"env": os.environ | environment, "start_new_session": True}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **options)
        wait_until(self.answers, 300)

    def answers(self) -> bool:
        try:
            return urllib3.request("GET", f"{self.uri}/health", retries=False, timeout=2).status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def wait_until(happened: Callable[[], Any], seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        server = Server(tmp_path_factory.mktemp("server"))
        server.start()
        yield server
        server.kill()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """A project with prepared pictures."""
    root = tmp_path_factory.mktemp("project")
    shutil.copy(REPOSITORY / "params.yaml", root)
    for domain in ("photos", "paintings"):
        (root / "data" / "sample" / domain).mkdir(parents=True)
        for picture in sorted((REPOSITORY / "data" / "sample" / domain).iterdir())[:12]:
            shutil.copy(picture, root / "data" / "sample" / domain)
    set_params(root, PARAMS)
    for domain in ("content", "style"):
        assert quantart(root, server, "prepare", "--domain", domain).returncode == 0
    return root


@pytest.fixture(scope="module")
def undisturbed(root: Path, server: Server) -> dict[str, Any]:
    process = start_training(root, server)
    assert process.wait(600) == 0
    logged = what_is_logged(root, server)
    assert [step for step, _ in logged["metrics"][LOSS]] == list(range(1, STEPS + 1))
    assert sorted(logged["pictures"]) == sorted(f"val~reconstructions+step+{step}" for step in (40, 80, 120))
    return logged


@pytest.fixture(autouse=True)
def running(server: Server, undisturbed: dict[str, Any]) -> Iterator[None]:
    yield
    if server.process is None:
        server.start()


def environment(server: Server) -> dict[str, str]:
    return os.environ | {"MLFLOW_TRACKING_URI": server.uri}


def quantart(root: Path, server: Server, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "quantart_cli", *arguments]
    return subprocess.run(command, cwd=root, env=environment(server), capture_output=True, text=True)


def start_training(root: Path, server: Server) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "quantart_cli", "train", "stage1", "--domain", "base"]
    with (root / "training.log").open("wb") as log:
        return subprocess.Popen(command, cwd=root, env=environment(server), stdout=log, stderr=log)


def entries(root: Path) -> int:
    """Undelivered entries of the training that runs."""
    return len(list((root / FOLDER).glob("*/[0-9]*.json")))


def find(root: Path, server: Server) -> Run:
    client, run_id = MlflowClient(server.uri), read_link(root / "runs" / "stage1_base.json").run_id
    if not is_local_id(run_id):
        return client.get_run(run_id)
    experiment = client.get_experiment_by_name("quantart").experiment_id
    (found,) = client.search_runs([experiment], f"tags.local_id = '{run_id}'")
    return found


def what_is_logged(root: Path, server: Server) -> dict[str, Any]:
    """All of a run that is the same each time."""
    client, run = MlflowClient(server.uri), find(root, server)
    run_id = run.info.run_id
    keys = [key for key in run.data.metrics if not key.startswith("system/") and key not in SPEED]
    names = (
        re.search(r"images/(.+)\+timestamp\+.*\.png", file.path) for file in client.list_artifacts(run_id, "images")
    )
    model = Path(client.download_artifacts(run_id, "model"))
    system = client.get_metric_history(run_id, "system/cpu_utilization_percentage")
    assert [point.step for point in system] == list(range(len(system)))
    return {
        "status": run.info.status,
        "params": run.data.params,
        "tags": {key: run.data.tags[key] for key in run.data.tags if not re.match("local_id|mlflow|git", key)},
        "metrics": {key: [(p.step, p.value) for p in client.get_metric_history(run_id, key)] for key in keys},
        "pictures": [name[1] for name in names if name],
        "model": {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in model.iterdir()},
    }


def step_in_store(server: Server, known: set[str]) -> int:
    """Last step of the run that is not among the known ones."""
    client = MlflowClient(server.uri)
    runs = client.search_runs([client.get_experiment_by_name("quantart").experiment_id])
    steps = [
        m.step for run in runs if run.info.run_id not in known for m in client.get_metric_history(run.info.run_id, LOSS)
    ]
    return max(steps, default=0)


def known_runs(server: Server) -> set[str]:
    client = MlflowClient(server.uri)
    experiment = client.get_experiment_by_name("quantart").experiment_id
    return {run.info.run_id for run in client.search_runs([experiment])}


def test_a_server_that_dies_and_comes_back_has_all_of_the_run(
    root: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    known = known_runs(server)
    process = start_training(root, server)
    wait_until(lambda: step_in_store(server, known) >= 5)
    server.kill()
    before = entries(root)
    wait_until(lambda: entries(root) >= before + 30)  # training goes on
    process.send_signal(signal.SIGSTOP)
    assert process.poll() is None
    server.start()
    process.send_signal(signal.SIGCONT)
    assert process.wait(300) == 0, (root / "training.log").read_text()
    told = (root / "training.log").read_text()
    assert "the tracking server does not answer" in told
    assert "the tracking store answers again" in told
    assert find_spools(root) == []
    assert what_is_logged(root, server) == undisturbed
    assert len(known_runs(server) - known) == 1


def test_a_server_that_is_down_throughout_gets_all_of_the_run_by_sync(
    root: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    server.kill()
    process = start_training(root, server)
    assert process.wait(300) == 0, (root / "training.log").read_text()
    assert "`quantart sync` delivers them" in (root / "training.log").read_text()
    refused = quantart(root, server, "sync")
    assert (refused.returncode, "entries of 1 runs are kept" in refused.stderr) == (1, True)
    server.start()
    done = quantart(root, server, "sync")
    assert (done.returncode, "entries delivered" in done.stderr) == (0, True), done.stderr
    assert what_is_logged(root, server) == undisturbed
    assert "nothing to deliver" in quantart(root, server, "sync").stderr


def test_a_training_killed_while_the_server_is_down_resumes_into_one_history(
    root: Path, server: Server, undisturbed: dict[str, Any]
) -> None:
    known = known_runs(server)
    process = start_training(root, server)
    wait_until(lambda: step_in_store(server, known) >= 5)
    server.kill()
    before = entries(root)
    wait_until(lambda: entries(root) >= before + 30)
    process.kill()
    process.wait()
    server.start()
    assert start_training(root, server).wait(300) == 0
    assert "resuming after step" in (root / "training.log").read_text()
    assert what_is_logged(root, server) == undisturbed
    assert len(known_runs(server) - known) == 1
    assert find_spools(root) == []


def test_a_server_that_hangs_holds_no_training_up(root: Path, server: Server, undisturbed: dict[str, Any]) -> None:
    known = known_runs(server)
    process = start_training(root, server)
    wait_until(lambda: step_in_store(server, known) >= 5)
    assert server.process is not None
    os.killpg(server.process.pid, signal.SIGSTOP)
    wait_until((root / ".quantart" / "checkpoints" / "stage1_base" / f"step-{STEPS:08d}").is_dir)
    os.killpg(server.process.pid, signal.SIGCONT)
    assert process.wait(300) == 0
    assert what_is_logged(root, server) == undisturbed
