"""Two machines, as two addresses of this one, train one model: in a shared folder, and with copies of the project."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from quantart.pipeline import prepare
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS

from ..faults.projects import steps_kept, wait_until
from .test_processes import GRADIENTS, SPEEDS, STEPS, history, parameters, runs_of, small_sample

pytestmark = pytest.mark.faults
STAGE = "stage1_base"
TRAIN = ["quantart_cli", "train", "stage1", "--domain", "base"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Project:
    project = Project(tmp_path_factory.mktemp("prepared"))
    write_params(project, {})
    small_sample(project)
    for domain in DOMAINS:
        prepare.run(project, domain)
    return project


def write_params(project: Project, changes: dict[str, Any]) -> None:
    params = parameters()
    params["stage1"]["base"] |= changes
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture
def copies(prepared: Project, tmp_path: Path) -> list[Project]:
    return [Project(shutil.copytree(prepared.root, tmp_path / name)) for name in ("first", "second")]


def start(*machines: Project, launcher: str = "", command: list[str] = TRAIN) -> list[subprocess.Popen[str]]:
    """One process on each machine; by a launcher, or as Kubernetes' operators would start it."""
    with socket.create_server(("127.0.0.2", 0)) as listener:
        port = listener.getsockname()[1]
    started = []
    for rank, project in enumerate(machines):
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("ACCELERATE_", "MLFLOW_"))
        }
        environment |= {"ACCELERATE_USE_CPU": "true", "ACCELERATE_MIXED_PRECISION": "no", "OMP_NUM_THREADS": "1"}
        environment |= {"QUANTART_PROJECT": str(project.root)}
        torchrun = f"torch.distributed.run --nnodes=2 --node-rank={rank} --master-addr=127.0.0.2 --master-port={port}"
        accelerate = f"accelerate.commands.launch --multi_gpu --num_machines 2 --num_processes 2 --machine_rank {rank}"
        accelerate += f" --main_process_ip 127.0.0.2 --main_process_port {port}"
        own = {"torchrun": f"{torchrun} -m", "accelerate": f"{accelerate} -m"}.get(launcher, "")
        if not launcher and len(machines) > 1:
            environment |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.2", "MASTER_PORT": str(port)}
        words = [sys.executable, "-m", *own.split(), *command]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(words, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True))
    return started


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit code and output of each."""
    said = [process.communicate(timeout=1800)[0] for process in processes]
    return [(process.returncode, words) for process, words in zip(processes, said, strict=True)]


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate"])
def test_two_machines_train_the_model_that_one_process_trains(
    prepared: Project, copies: list[Project], tmp_path: Path, launcher: str
) -> None:
    alone = Project(shutil.copytree(prepared.root, tmp_path / "alone"))
    first, second = copies if launcher == "torchrun" else [copies[0], copies[0]]  # copies, then a shared folder
    for code, said in ends(start(alone)) + ends(start(first, second, launcher=launcher)):
        assert code == 0, said
    (expected,), (run,) = runs_of(alone, STAGE), runs_of(first, STAGE)
    assert run.data.tags["processes"] == "2"
    names = {name for name in expected.data.metrics if name.startswith(("train/", "val/"))} - SPEEDS - GRADIENTS
    assert "train/total_loss" in names
    for name in names:
        assert history(first, run, name) == pytest.approx(history(alone, expected, name), rel=1e-4, abs=1e-4), name
    assert sorted(history(first, run, "train/total_loss")) == list(range(1, STEPS + 1))
    assert (first.stage1_model("base") / "model.safetensors").is_file()
    if first.root != second.root:
        left = {path.name for path in second.root.iterdir()}
        assert left == {path.name for path in prepared.root.iterdir()}  # no model, run, store or checkpoint


def test_stopped_by_a_signal_to_one_they_resume_from_the_first_machines_checkpoint(copies: list[Project]) -> None:
    first, second = copies
    for project in copies:
        write_params(project, {"steps": 2000, "checkpoint_every": 5, "validate_every": 2000, "log_every": 5})
    for resumed in (False, True):
        kept = steps_kept(first.root, STAGE)
        processes = start(first, second)
        wait_until(lambda kept=kept: steps_kept(first.root, STAGE) > kept, "a checkpoint", 1800)
        processes[1].send_signal(signal.SIGTERM)
        (code, said), (other, also) = ends(processes)
        assert (code, other) == (143, 143), said + also
        assert ("resuming after step" in said) == resumed
        assert steps_kept(second.root, STAGE) == []
    (run,) = runs_of(first, STAGE)
    assert run.info.status == "KILLED"
    steps = sorted(history(first, run, "train/total_loss"))
    assert steps == list(range(5, steps[-1] + 1, 5))

    # the machines changed places: what the second has is not thrown away
    for code, said in ends(start(second, first)):
        assert code == 2
        assert f"has a checkpoint of step {steps_kept(first.root, STAGE)[-1]}, process 0" in said
    assert runs_of(first, STAGE)[0].info.run_id == run.info.run_id


def test_what_differs_between_the_copies_is_named_before_any_work(copies: list[Project]) -> None:
    first, second = copies
    write_params(second, {"learning_rate": 0.5})
    for code, said in ends(start(first, second)):
        assert code == 2
        assert f"{second.root}) has parameters.stage1.base.learning_rate 0.5, process 0" in said
        assert said.count("\n") == 1
    assert not (first.root / "mlflow.db").exists()
    assert not first.checkpoints(STAGE).exists()


def test_a_machine_that_cannot_begin_stops_the_other(copies: list[Project]) -> None:
    first, second = copies
    shutil.rmtree(second.prepared("style"))
    (code, said), (other, also) = ends(start(first, second))
    assert (code, other) == (2, 2)
    assert str(second.prepared("style")) in also
    assert "another of the 2 processes ended, so this one stops" in said


@pytest.mark.parametrize("command", [["encode", "--domain", "content"], ["evaluate"]], ids=["encode", "evaluate"])
def test_what_needs_a_shared_folder_says_so_at_once(copies: list[Project], command: list[str]) -> None:
    first, second = copies
    for code, said in ends(start(first, second, command=["quantart_cli", *command])):
        assert code == 2
        assert f"{second.root}) does not share the folder of process 0, and {command[0]} needs that" in said
    assert not list(first.root.glob(".shared-*"))
