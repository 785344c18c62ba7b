import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from quantart.errors import StoppedBySignal, UserError
from quantart.tracking.lineage import DataUsed
from quantart.tracking.runs import SpooledRun, stage_run
from quantart.tracking.store import configure

DATA = DataUsed("content", "ab" * 32, "data/prepared/content", "training", 12)


def finished_run(project: Path, params: Mapping[str, Any] | None = None) -> SpooledRun:
    with stage_run(project, family="stage2", name="stage2_discrete", params=params or {}) as run:
        run.metrics({"train/total_loss": 2.0}, 1)
    return run


def test_a_run_holds_what_it_was_told_and_what_it_measured(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", "stage2@discrete")
    monkeypatch.setenv("DVC_EXP_NAME", "silly-cat")
    params = {"train": {"steps": 30, "betas": [0.5, 0.9], "schedule": "cosine"}, "init_from": None}
    with stage_run(
        project,
        family="stage2",
        name="stage2_discrete",
        params=params,
        upstream={"stage1_style": "0123"},
        datasets=[DATA],
    ) as run:
        run.metrics({"train/total_loss": torch.tensor(2.0), "train/usage": np.float32(0.5), "train/steps": 3}, 10)
        run.metrics({"train/total_loss": 1.0}, 20)
    found = MlflowClient().get_run(run.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "stage2_discrete@silly-cat"
    assert found.data.params == {
        "stage2.train.steps": "30",
        "stage2.train.betas": "[0.5, 0.9]",
        "stage2.train.schedule": "cosine",
        "stage2.init_from": "null",
    }
    history = MlflowClient().get_metric_history(run.run_id, "train/total_loss")
    assert [(point.step, point.value) for point in history] == [(10, 2.0), (20, 1.0)]
    assert found.data.metrics["train/usage"] == 0.5
    expected = {"dvc.stage": "stage2@discrete", "dvc.experiment": "silly-cat", "upstream.stage1_style": "0123"}
    assert (expected | {"stage": "stage2", "data.content": "ab" * 32}).items() <= found.data.tags.items()
    description = found.data.tags["mlflow.note.content"]
    assert description.startswith("`stage2_discrete` of the experiment `silly-cat`")
    assert "Training data: 12 pictures of content" in description
    assert f"[stage1_style 0123](#/experiments/{found.info.experiment_id}/runs/0123)" in description
    dataset = found.inputs.dataset_inputs[0].dataset
    assert (dataset.name, dataset.digest) == ("content", ("ab" * 32)[:32])
    assert json.loads(dataset.profile) == {"pictures": 12, "sha256": "ab" * 32}


def test_pictures_lie_under_key_and_step_and_artifacts_in_their_folder(project: Path, tmp_path: Path) -> None:
    picture = np.full((20, 30, 3), (10, 200, 30), np.uint8)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    (tmp_path / "table.csv").write_text("a,b")
    with stage_run(project, family="stage1", name="stage1_base", params={}) as run:
        run.image("val/grid", picture, 500)
        run.artifact(tmp_path / "model", "model")
        run.artifact(tmp_path / "table.csv")
    client = MlflowClient()
    names = [file.path for file in client.list_artifacts(run.run_id, "images")]
    full = next(name for name in names if name.startswith("images/val~grid+step+500") and name.endswith(".png"))
    with Image.open(client.download_artifacts(run.run_id, full)) as stored:
        assert np.array_equal(np.asarray(stored), picture)
    assert {file.path for file in client.list_artifacts(run.run_id)} >= {"images", "model", "table.csv"}
    assert [file.path for file in client.list_artifacts(run.run_id, "model")] == ["model/config.json"]


def test_the_commit_and_uncommitted_changes_are_tagged(tmp_path: Path, project: Path) -> None:
    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        command = ["git", "-C", str(project), *identity, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "-q")
    (project / ".gitignore").write_text("mlflow.db*\nmlartifacts\n")
    git("add", ".gitignore")
    git("commit", "-qm", "first")
    clean = MlflowClient().get_run(finished_run(project).run_id).data.tags
    (project / "params.yaml").write_text("seed: 1")
    dirty = MlflowClient().get_run(finished_run(project).run_id).data.tags
    assert clean["git.commit"] == dirty["git.commit"] == git("rev-parse", "HEAD")
    assert (clean["git.dirty"], dirty["git.dirty"]) == ("false", "true")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UserError("no"), "FAILED"),
        (SystemExit(1), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (SystemExit(143), "KILLED"),
        (StoppedBySignal(signal.SIGTERM, "saved"), "KILLED"),
    ],
)
def test_a_run_says_how_it_ended(error: BaseException, status: str, project: Path) -> None:
    with (
        pytest.raises(type(error)),
        stage_run(project, family="stage1", name="stage1_base", params={}) as run,
    ):
        raise error
    assert MlflowClient().get_run(run.run_id).info.status == status


def test_sigterm_marks_the_run_killed_and_exits_143(project: Path) -> None:
    code = (
        "import sys, signal, pathlib; from quantart.tracking.runs import stage_run\n"
        "with stage_run(pathlib.Path(sys.argv[1]), family='s', name='s', params={}) as run:\n"
        "    print(run.run_id, flush=True); signal.pause()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(project)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    run_id = process.stdout.readline().strip()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    configure(project)
    assert MlflowClient().get_run(run_id).info.status == "KILLED"


def test_a_continued_run_keeps_its_history_and_notes_a_changed_parameter(project: Path) -> None:
    first = finished_run(project, {"steps": 30})
    with stage_run(project, family="stage2", name="x", params={"steps": 40, "seed": 1}, run_id=first.run_id) as again:
        again.metrics({"train/total_loss": 1.0}, 2)
        for step in (4, 4, 8):
            again.image("val/transfers", np.zeros((4, 4, 3), np.uint8), step)
    found = MlflowClient().get_run(first.run_id)
    assert again.run_id == first.run_id
    assert (found.info.status, found.info.run_name) == ("FINISHED", f"stage2_discrete@{first.run_id[:8]}")
    assert found.data.params == {"stage2.steps": "30", "stage2.seed": "1"}
    assert found.data.tags["latest.stage2.steps"] == "40"
    assert [p.step for p in MlflowClient().get_metric_history(first.run_id, "train/total_loss")] == [1, 2]
    names = [file.path for file in MlflowClient().list_artifacts(first.run_id, "images") if file.path.endswith(".png")]
    assert sorted(name.split("+")[2] for name in names) == ["4", "8"]


def test_many_and_long_parameters_are_logged(project: Path) -> None:
    many = {f"key{i}": i for i in range(150)} | {"long": "x" * 10_000}
    params = MlflowClient().get_run(finished_run(project, many).run_id).data.params
    assert len(params) == 151
    assert params["stage2.long"] == "x" * 499 + "…"


def test_system_metrics_are_on(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantart.tracking.runs.SYSTEM_METRICS_SECONDS", 0.05)
    deadline = time.monotonic() + 30
    with stage_run(project, family="stage1", name="stage1_base", params={}) as run:
        names: set[str] = set()
        while "system/cpu_utilization_percentage" not in names and time.monotonic() < deadline:
            names = set(MlflowClient().get_run(run.run_id).data.metrics)
    assert "system/cpu_utilization_percentage" in names


def test_an_unknown_run_is_not_resumed(project: Path) -> None:
    unknown = "0123456789abcdef"
    with pytest.raises(UserError, match=unknown), stage_run(project, family="s", name="s", params={}, run_id=unknown):
        raise AssertionError
