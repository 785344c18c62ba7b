"""`dvc repro` interrupted for real: the next one redoes only what had not finished."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .projects import REPOSITORY, client, copy_project, steps_kept, wait_until

STAGE = "stage1_base"


def environment() -> dict[str, str]:
    ours = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "DVC_"))}
    return ours | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "DVC_NO_ANALYTICS": "1"}


def interrupted(root: Path, signum: signal.Signals) -> str:
    """What `dvc repro` printed until all its processes got a signal, after a checkpoint more than there was."""
    kept = steps_kept(root, STAGE)
    with (root / "out.txt").open("w+") as out:
        process = subprocess.Popen(
            ["dvc", "repro", STAGE],
            cwd=root,
            env=environment(),
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_until(lambda: process.poll() is not None or steps_kept(root, STAGE) > kept, "a checkpoint")
        os.killpg(process.pid, signum)
        assert process.wait() != 0
        out.seek(0)
        return out.read()


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.mark.faults
def test_an_interrupted_repro_goes_on_where_it_was(prepared: Path, tmp_path: Path) -> None:
    changes = {"stage1.base.steps": 400, "stage1.base.validate_every": 200, "stage1.base.checkpoint_every": 10}
    root = copy_project(prepared, tmp_path / "project", changes)
    shutil.rmtree(root / "data" / "prepared")
    shutil.copy(REPOSITORY / "dvc.yaml", root)
    shutil.copytree(REPOSITORY / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for command in (["git", "init", "-q"], ["dvc", "init", "-q"]):
        subprocess.run(command, cwd=root, env=environment(), check=True)

    *first, last_begun = ran(interrupted(root, signal.SIGINT))
    assert (sorted(first), last_begun) == (["prepare@content", "prepare@style"], STAGE)  # DVC takes either one first
    again = interrupted(root, signal.SIGKILL)
    assert ran(again) == [STAGE]
    assert "resuming after step" in again
    last = subprocess.run(["dvc", "repro", STAGE], cwd=root, env=environment(), capture_output=True, text=True)
    assert last.returncode == 0, last.stdout + last.stderr
    assert ran(last.stdout) == [STAGE]
    assert "resuming after step" in last.stdout
    assert steps_kept(root, STAGE) == []

    run_id = json.loads((root / "runs" / f"{STAGE}.json").read_text())["run_id"]
    points = client(root).get_metric_history(run_id, "train/reconstruction_loss")
    assert [point.step for point in points] == list(range(2, 402, 2))
    rest = subprocess.run(["dvc", "repro", STAGE], cwd=root, env=environment(), capture_output=True, text=True)
    assert ran(rest.stdout) == []
