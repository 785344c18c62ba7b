"""Tiny projects, real training processes in them, and what such a training left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
TRAIN = {
    "stage1_base": ["train", "stage1", "--domain", "base"],
    "stage1_content": ["train", "stage1", "--domain", "content"],
    "stage1_style": ["train", "stage1", "--domain", "style"],
    "stage2_discrete": ["train", "stage2", "--variant", "discrete"],
    "stage2_continuous": ["train", "stage2", "--variant", "continuous"],
}
SECTION = {"stage1_base": "stage1.base", "stage1_content": "stage1.domain", "stage2_discrete": "stage2.train"}
CLOCKS = ("train/images_per_second", "train/data_wait_share")
TIMEOUT = 120.0  # of what takes seconds


def wait_until(true: Callable[[], Any], what: str, timeout: float = TIMEOUT) -> None:
    end = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.002)


def set_params(root: Path, changes: dict[str, Any]) -> None:
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    for key, value in changes.items():
        *folders, last = key.split(".")
        section = params
        for folder in folders:
            section = section[folder]
        assert last in section, key
        section[last] = value
    path.write_text(yaml.safe_dump(params, sort_keys=False))


@dataclass
class Ended:
    """A command that has ended: its exit code (negative for a signal) and all that it printed."""

    code: int
    out: str


class Command:
    """A running command."""

    def __init__(self, zygote: subprocess.Popen[str], out: Path) -> None:
        self._zygote = zygote
        self._out = out
        self.pid = int(self._answer())

    def send(self, signum: int) -> None:
        with suppress(ProcessLookupError):  # it ended before
            os.kill(self.pid, signum)

    def end(self) -> Ended:
        code = int(self._answer())
        return Ended(code, self._out.read_text() if self._out.exists() else "")

    def _answer(self) -> str:
        assert self._zygote.stdout is not None
        answer = self._zygote.stdout.readline()
        assert answer, f"the zygote ended with {self._zygote.wait()}"
        return answer


class Quantart:
    """Starts `quantart` commands, one at a time, each a process of its own."""

    def __init__(self) -> None:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("MLFLOW_", "DVC_", "ACCELERATE_"))}
        environment |= {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "1", "ACCELERATE_MIXED_PRECISION": "no"}
        command = [sys.executable, str(Path(__file__).with_name("zygote.py"))]
        pipe = subprocess.PIPE
        self._zygote = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        self._said = tempfile.TemporaryDirectory()  # not in the project, whose disk may be full

    def start(self, root: Path, *argv: str, inject: str = "") -> Command:
        out = Path(self._said.name) / "out.txt"
        out.unlink(missing_ok=True)
        assert self._zygote.stdin is not None
        self._zygote.stdin.write(json.dumps({"argv": argv, "cwd": str(root), "out": str(out), "inject": inject}) + "\n")
        self._zygote.stdin.flush()
        return Command(self._zygote, out)

    def __call__(self, root: Path, *argv: str, inject: str = "") -> Ended:
        return self.start(root, *argv, inject=inject).end()

    def well(self, root: Path, *argv: str) -> str:
        """What it prints, having ended well."""
        ended = self(root, *argv)
        assert ended.code == 0, ended.out
        return ended.out

    def close(self) -> None:
        self._zygote.kill()
        self._zygote.wait()
        self._said.cleanup()


def copy_project(template: Path, root: Path, changes: dict[str, Any] | None = None) -> Path:
    """A project that goes on where another stands, with parameters of its own."""
    shutil.copytree(template, root)
    set_params(root, changes or {})
    with closing(sqlite3.connect(root / "mlflow.db")) as database, database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri")):
            places = (str(template), str(root))
            database.execute(f"UPDATE {table} SET {column} = REPLACE({column}, ?, ?)", places)
    return root


def steps_kept(root: Path, stage: str) -> list[int]:
    """Steps of the checkpoints that are there."""
    folder = root / ".quantart" / "checkpoints" / stage
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{root}/mlflow.db")


def runs_of(root: Path, stage: str) -> list[Any]:
    """All tracked runs of a stage, the newest first."""
    store = client(root)
    found = store.search_runs([store.get_experiment_by_name("quantart").experiment_id])
    return [run for run in found if run.info.run_name.startswith(f"{stage}@")]


def history(root: Path, stage: str) -> dict[str, list[tuple[int, float]]]:
    """Every point that the finished run of a stage logged, but for clocks and the machine's own metrics."""
    run_id = json.loads((root / "runs" / f"{stage}.json").read_text())["run_id"]
    store = client(root)
    run = store.get_run(run_id)
    assert run.info.status == "FINISHED"
    keys = [key for key in run.data.metrics if not key.startswith("system/") and key not in CLOCKS]
    return {key: [(point.step, point.value) for point in store.get_metric_history(run_id, key)] for key in keys}


def pictures(root: Path, stage: str) -> Counter[tuple[str, str]]:
    """How many pictures the finished run of a stage logged under each key and step."""
    run_id = json.loads((root / "runs" / f"{stage}.json").read_text())["run_id"]
    names = (path.stem for path in (root / "mlartifacts").glob(f"{run_id}/artifacts/images/*.png"))
    return Counter((parts[0], parts[2]) for parts in (name.split("+") for name in names))


def result(root: Path, stage: str) -> dict[str, Any]:
    """All that must be the same for any two trainings with the same parameters and data."""
    return {
        "weights": contents(root / "models" / stage),
        "history": history(root, stage),
        "pictures": pictures(root, stage),
        "left over": steps_kept(root, stage),
    }


KILLED = -signal.SIGKILL
