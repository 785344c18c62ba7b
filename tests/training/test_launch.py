"""Device, precision and processes follow Accelerate's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from quantart.errors import UserError
from quantart.machine.device import default_precision
from quantart.training.launch import launch_if_wanted, make_accelerator, processes_wanted

# a module that several processes run: each leaves a file with what it was told
WHERE = """
import os, pathlib, sys
rank, world = os.environ["RANK"], os.environ["WORLD_SIZE"]
pathlib.Path(sys.argv[1], f"rank-{rank}").write_text(f"{world} {' '.join(sys.argv[2:])}")
"""
STARTS = "from quantart.training.launch import launch_if_wanted; launch_if_wanted({module!r}, [{folder!r}, 'x'])"


@pytest.fixture(autouse=True)
def _no_configuration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No configuration of the machine's own, and no device state of another test."""
    for name in [name for name in os.environ if name.startswith("ACCELERATE_")] + ["LOCAL_RANK"]:
        monkeypatch.delenv(name, raising=False)
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


def test_a_number_of_processes_that_is_none_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_NUM_PROCESSES", "two")
    with pytest.raises(UserError, match="^ACCELERATE_NUM_PROCESSES='two' is not a number of processes$"):
        processes_wanted()


def test_a_configuration_file_that_is_not_there_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_CONFIG_FILE", "two_gpus.yaml")
    with pytest.raises(UserError, match="^ACCELERATE_CONFIG_FILE='two_gpus.yaml': no such file$"):
        processes_wanted()


def test_a_process_that_was_launched_launches_none(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")
    launch_if_wanted("never_started", [])  # would exit


def started(folder: Path, module: str, *before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a program that runs `module` in as many processes as it is told to."""
    (folder / "starts.py").write_text(STARTS.format(module=module, folder=str(folder)))
    environment = {**os.environ, "PYTHONPATH": f"{folder}:{os.environ.get('PYTHONPATH', '')}"} | environment
    command = [sys.executable, "-m", *before, "starts"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)


def test_accelerate_launch_starts_several_on_cpus_too(tmp_path: Path) -> None:
    (tmp_path / "where.py").write_text(WHERE)
    launch = ("accelerate.commands.launch", "--cpu", "--num-processes=2", "-m")
    assert started(tmp_path, "where", *launch).returncode == 0
    assert {path.name: path.read_text() for path in tmp_path.glob("rank-*")} == {"rank-0": "2 x", "rank-1": "2 x"}


def test_the_exit_code_is_that_of_the_process_that_failed_and_no_traceback_is_added(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(
        "import os, sys, time; sys.exit(2) if os.environ['RANK'] == '1' else time.sleep(60)"
    )
    failed = started(tmp_path, "fails", ACCELERATE_NUM_PROCESSES="2")
    assert (failed.returncode, failed.stderr) == (2, "")


def test_a_process_that_is_killed_is_said(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(
        "import os, time; os.kill(os.getpid(), 9) if os.environ['RANK'] == '1' else time.sleep(60)"
    )
    failed = started(tmp_path, "dies", ACCELERATE_NUM_PROCESSES="2")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: process 1 of 2 died of SIGKILL; the others were stopped")
    assert failed.stderr.count("\n") == 1


def test_the_precision_is_what_is_asked_for(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    accelerator = make_accelerator(seed=0)
    assert (accelerator.mixed_precision, accelerator.device.type) == ("bf16", "cpu")


def test_the_environments_precision_goes_before_the_files(configured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert make_accelerator(seed=0).mixed_precision == "no"


def test_without_a_wish_the_device_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert make_accelerator(seed=0).mixed_precision == default_precision(cpu=True)


def test_a_precision_we_cannot_do_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(UserError, match="^mixed precision 'fp8' is not supported; use 'bf16' or 'no'$"):
        make_accelerator(seed=0)


def test_the_seed_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    draws = []
    for _ in range(2):
        make_accelerator(seed=5)
        draws.append(torch.rand(3))
    assert torch.equal(*draws)
