"""Device, precision and processes follow Accelerate's configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from accelerate.state import AcceleratorState

from quantart.errors import UserError
from quantart.machine.device import default_precision
from quantart.training.launch import _machines, launch_if_wanted, make_accelerator, processes_wanted

ROOT = Path(__file__).parents[2]
# a module that several processes run: each leaves a file with what it was told
WHERE = """
import os, pathlib, sys
rank, world = os.environ["RANK"], os.environ["WORLD_SIZE"]
pathlib.Path(sys.argv[1], f"rank-{rank}").write_text(f"{world} {' '.join(sys.argv[2:])}")
pathlib.Path(sys.argv[1], "port").write_text(os.environ["MASTER_PORT"])
"""
STARTS = """
import sys
from quantart.training import launch
launch.launch_if_wanted("work", [sys.argv[1], "x", "--option"])
"""
# as on a machine with GPUs, as far as the launcher goes
STARTS_ON_GPUS = STARTS.replace(
    "launch.launch", "import torch; launch.default_device = lambda: torch.device('cuda'); launch.launch"
)


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No configuration of the machine's own, and no device state of another test."""
    for name in list(os.environ):
        if name.startswith(("ACCELERATE_", "SLURM_", "OMPI_", "MASTER_")) or name.endswith(("RANK", "WORLD_SIZE")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "accelerate.yaml"
    path.write_text("num_processes: 3\nmixed_precision: bf16\n")
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", str(path))
    return path


def test_one_process_without_configuration() -> None:
    assert processes_wanted() == 1
    launch_if_wanted("never_started", [])  # would exit


def test_the_configuration_file_says_how_many(configured: Path) -> None:
    assert processes_wanted() == 3


def test_the_environment_goes_before_the_file(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_NUM_PROCESSES", "2")
    assert processes_wanted() == 2


def test_a_number_of_processes_that_is_no_number_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_NUM_PROCESSES", "two")
    with pytest.raises(UserError) as error:
        processes_wanted()
    assert "ACCELERATE_NUM_PROCESSES='two'" in error.value.fault


def test_a_configuration_file_that_is_not_there_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", "two_gpus.yaml")
    with pytest.raises(UserError) as error:
        processes_wanted()
    assert "ACCELERATE_CONFIG_FILE='two_gpus.yaml'" in error.value.fault


def test_a_file_for_more_gpus_than_there_are_is_reported_before_anything_starts(
    configured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured.write_text("distributed_type: MULTI_GPU\nnum_processes: 3\nnum_machines: 1\n")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="asks for 3 GPUs, and this machine has 0") as caught:
        launch_if_wanted("quantart_cli", [])
    assert "`accelerate config`" in caught.value.remedy


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
    """Torch's variables at each meeting of the processes, which does not take place."""
    seen: list[dict[str, str]] = []
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
    monkeypatch.setattr("quantart.training.launch._stop_with_parent", lambda: None)
    monkeypatch.setattr(
        "quantart.training.launch.join", lambda: seen.append({name: os.environ[name] for name in names})
    )
    monkeypatch.setattr(os, "environ", os.environ.copy())  # it is written to
    return seen


def test_a_launched_process_launches_no_others(configured: Path, met: list[dict[str, str]]) -> None:
    place = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
    os.environ |= place
    launch_if_wanted("never_started", [])  # would exit
    assert met == [place]


def test_slurms_tasks_are_processes(met: list[dict[str, str]], tmp_path: Path) -> None:
    (tmp_path / "scontrol").write_text('#!/bin/sh\necho "$@" > "$0.asked"; printf "n7\\nn8\\n"\n')
    (tmp_path / "scontrol").chmod(0o755)
    os.environ |= {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "5"}
    os.environ |= {"SLURM_STEP_ID": "2", "SLURM_STEP_NODELIST": "n[7-8]", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    launch_if_wanted("never_started", [])
    place = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "n7", "MASTER_PORT": "10082"}
    assert met == [place]
    assert (tmp_path / "scontrol.asked").read_text() == "show hostnames n[7-8]\n"


def test_mpiruns_processes_are_known(met: list[dict[str, str]]) -> None:
    os.environ |= {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_LOCAL_RANK": "1"}
    with pytest.raises(UserError) as error:
        launch_if_wanted("never_started", [])
    assert error.value.fault == "OMPI_COMM_WORLD_SIZE says 4 processes, and nothing says where the first one is"
    os.environ |= {"MASTER_ADDR": "a", "MASTER_PORT": "1"}
    launch_if_wanted("never_started", [])
    assert met == [{"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}]


def test_slurm_and_accelerate_may_not_ask_for_different_numbers(configured: Path, met: list[dict[str, str]]) -> None:
    os.environ |= {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2"}
    with pytest.raises(UserError) as error:
        launch_if_wanted("never_started", [])
    assert error.value.fault == "SLURM_STEP_NUM_TASKS says 2 processes, Accelerate's configuration 3"
    assert met == []


def test_the_job_that_starts_steps_of_several_tasks_is_itself_one_process(met: list[dict[str, str]]) -> None:
    os.environ |= {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "MASTER_ADDR": "n7"}
    launch_if_wanted("never_started", [])
    assert met == []


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1"])
def test_accelerate_launch_that_does_not_say_which_process_this_is_is_refused(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("ACCELERATE_NUM_PROCESSES", "2")
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    monkeypatch.setenv("MASTER_ADDR", address)  # as it sets it where several are asked for
    with pytest.raises(UserError) as error:
        launch_if_wanted("never_started", [])
    assert "--multi_gpu" in error.value.remedy


def test_accelerates_file_may_name_several_machines(configured: Path) -> None:
    file = configured.read_text()
    configured.write_text(f"{file}num_machines: 3\nmachine_rank: 1\nmain_process_ip: 10.0.0.1\n")
    assert _machines(3) == [
        *("--nnodes=3", "--node-rank=1", "--master-addr=10.0.0.1", "--master-port=29500", "--nproc-per-node=1")
    ]
    with pytest.raises(UserError) as error:
        _machines(4)
    assert "4 processes on 3 machines, number 1, the first at 10.0.0.1" in error.value.fault


def start(folder: Path, work: str, starts: str = STARTS) -> subprocess.Popen[str]:
    """A program that runs the module `work` in two processes."""
    (folder / "work.py").write_text(work)
    (folder / "starts.py").write_text(starts)
    own = (str(ROOT / name) for name in ("src", "cli"))  # before a packaged model's code, which another test may leave
    path = os.pathsep.join([str(folder), *own, *filter(None, sys.path)])
    return subprocess.Popen(
        [sys.executable, "-m", "starts", str(folder)],
        env={**os.environ, "PYTHONPATH": path, "ACCELERATE_NUM_PROCESSES": "2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("starts", [STARTS, STARTS_ON_GPUS], ids=["torchrun, CPUs", "Accelerate's launcher, GPUs"])
def test_several_processes_are_started_with_the_same_arguments(tmp_path: Path, starts: str) -> None:
    launcher = start(tmp_path, WHERE, starts)
    assert (launcher.communicate(timeout=240)[0], launcher.returncode) == ("", 0)
    assert {path.name: path.read_text() for path in tmp_path.glob("rank-*")} == dict.fromkeys(
        ("rank-0", "rank-1"), "2 x --option"
    )
    assert (tmp_path / "port").read_text() != "29500"  # another training may begin at the same moment


@pytest.mark.parametrize("starts", [STARTS, STARTS_ON_GPUS], ids=["torchrun, CPUs", "Accelerate's launcher, GPUs"])
def test_the_exit_code_is_that_of_the_process_that_failed_and_no_traceback_is_added(
    tmp_path: Path, starts: str
) -> None:
    fails = "import os, sys, time; sys.exit(2) if os.environ['RANK'] == '1' else time.sleep(60)"
    launcher = start(tmp_path, fails, starts)
    _, said = launcher.communicate(timeout=240)
    assert launcher.returncode == 2
    assert "Traceback" not in said
    assert said == "" or starts == STARTS_ON_GPUS  # Accelerate lists its defaults


def test_a_process_that_is_killed_is_named(tmp_path: Path) -> None:
    dies = "import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(60)"
    launcher = start(tmp_path, dies)
    _, said = launcher.communicate(timeout=240)
    assert launcher.returncode == 1
    assert "process 1 of 2" in said
    assert "SIGKILL" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_processes_end_with_their_launcher(tmp_path: Path, signum: int, code: int) -> None:
    launcher = start(tmp_path, STARTS + WHERE + "import time; time.sleep(120)")
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("rank-*"))) < 2:
        assert launcher.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    processes = psutil.Process(launcher.pid).children(recursive=True)
    launcher.send_signal(signum)
    assert launcher.wait(60) == code
    assert psutil.wait_procs(processes, timeout=30)[1] == []


def test_the_precision_is_what_is_asked_for(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    accelerator = make_accelerator(seed=0)
    assert (accelerator.mixed_precision, accelerator.device.type) == ("bf16", "cpu")


def test_the_environments_precision_goes_before_the_files(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert make_accelerator(seed=0).mixed_precision == "no"


def test_without_configuration_the_device_decides_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert make_accelerator(seed=0).mixed_precision == default_precision(cpu=True)


def test_an_unsupported_precision_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(UserError) as error:
        make_accelerator(seed=0)
    assert "'fp8'" in error.value.fault
    assert "'bf16' or 'no'" in error.value.remedy


def test_the_seed_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    draws = []
    for _ in range(2):
        make_accelerator(seed=5)
        draws.append(torch.rand(3))
    assert torch.equal(*draws)
