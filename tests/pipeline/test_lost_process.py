"""Two processes train; one is killed, or both are told to stop: nothing hangs, the run says so, and it resumes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities import Run

from quantart.pipeline import prepare
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS

from .test_processes import parameters, small_sample

pytestmark = pytest.mark.faults
STEPS = 400  # enough for every test to find the training still running
COMMAND = ["-m", "quantart_cli", "train", "stage1", "--domain", "base"]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *COMMAND]
OURSELVES = [sys.executable, *COMMAND]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("project"))
    params = parameters()
    params["stage1"]["base"] |= {"steps": STEPS, "log_every": 5, "checkpoint_every": 5, "validate_every": STEPS}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    small_sample(project)
    for domain in DOMAINS:
        prepare.run(project, domain)
    return project


def start(project: Project, command: list[str], processes: int = 2) -> subprocess.Popen[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "MLFLOW_"))}
    environment |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "QUANTART_PROJECT": str(project.root)}
    if command == OURSELVES:
        environment["ACCELERATE_NUM_PROCESSES"] = str(processes)
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def newest(project: Project) -> str:
    """Name of the newest checkpoint."""
    return max((path.name for path in project.checkpoints("stage1_base").glob("step-*")), default="")


def wait_for_a_checkpoint(project: Project, process: subprocess.Popen[str], after: str) -> None:
    deadline = time.monotonic() + 240
    while newest(project) <= after:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def ranks(process: subprocess.Popen[str]) -> dict[int, psutil.Process]:
    """The training processes by their rank."""
    children = psutil.Process(process.pid).children(recursive=True)
    known = {child: child.environ().get("RANK") for child in children}
    return {int(rank): child for child, rank in known.items() if rank is not None}


def run_of(project: Project) -> Run:
    client = MlflowClient(f"sqlite:///{project.root}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'quantart'")
    (run,) = client.search_runs([experiment.experiment_id])
    return run


@pytest.mark.parametrize(
    ("rank", "command"), [(1, TORCHRUN), (0, OURSELVES)], ids=["second, torchrun", "first, by ourselves"]
)
def test_a_process_that_is_killed_takes_the_other_down_and_the_run_failed(
    project: Project, rank: int, command: list[str]
) -> None:
    before = newest(project)
    process = start(project, command)
    wait_for_a_checkpoint(project, process, before)
    both = ranks(process)
    assert sorted(both) == [0, 1]
    both[rank].kill()
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    if command == OURSELVES:
        assert f"process {rank} of 2 died of SIGKILL" in said
        assert "Traceback" not in said
    assert not any(each.is_running() for each in both.values())
    assert run_of(project).info.status == "FAILED"
    assert ("resuming after step" in said) == bool(before)


@pytest.mark.parametrize(
    ("command", "signum", "code"),
    [
        (OURSELVES, signal.SIGTERM, 143),
        (OURSELVES, signal.SIGINT, 130),
        (OURSELVES, signal.SIGKILL, -signal.SIGKILL),
        (TORCHRUN, signal.SIGTERM, 1),
    ],
    ids=["SIGTERM", "SIGINT", "SIGKILL", "SIGTERM, torchrun"],
)
def test_told_to_stop_both_finish_the_step_and_write_a_checkpoint(
    project: Project, command: list[str], signum: int, code: int
) -> None:
    before = newest(project)
    process = start(project, command)
    wait_for_a_checkpoint(project, process, before)
    both = ranks(process)
    process.send_signal(signum)
    said, _ = process.communicate(timeout=60)  # until both have closed it
    assert process.returncode == code
    assert psutil.wait_procs(both.values(), timeout=30)[1] == []
    assert "a checkpoint was written after step" in said
    assert "Traceback" not in said or command == TORCHRUN
    assert run_of(project).info.status == "KILLED"


def test_one_process_goes_on_says_what_that_means_and_the_history_has_each_step_once(project: Project) -> None:
    step = int(newest(project).removeprefix("step-"))
    process = start(project, OURSELVES, processes=1)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said
    assert f"resuming after step {step}" in said
    assert "1 processes resume what 2 began" in said
    assert "not bit-identical" in said
    run = run_of(project)
    assert run.info.status == "FINISHED"
    client = MlflowClient(f"sqlite:///{project.root}/mlflow.db")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "train/total_loss")]
    assert sorted(steps) == list(range(5, STEPS + 1, 5))
