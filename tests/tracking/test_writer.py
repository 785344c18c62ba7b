from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

from quantart.errors import UserError
from quantart.tracking.lineage import DataUsed
from quantart.tracking.store import configure
from quantart.tracking.writer import TrackedRun, logged_params, new_run

DATA = DataUsed("content", "ab" * 32, "data/prepared/content", "training", 12)


def test_adding_to_an_ended_run_leaves_its_status_and_times(project: Path, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("a,b")
    with new_run(project, family="stage2", name="ended", params={}) as ended:
        pass
    before = MlflowClient().get_run(ended.run_id).info
    run, picture = TrackedRun(ended.run_id), np.full((20, 30, 3), (10, 200, 30), np.uint8)
    run.metrics({"eval/psnr": torch.tensor(20.0), "eval/usage": np.float32(0.5)}, 0)
    run.images({"eval/grid": picture}, 3)
    run.artifact(tmp_path / "table.csv", "eval")
    run.set_tags({"eval/digest": "ab"})
    after = MlflowClient().get_run(ended.run_id)
    assert (after.info.status, after.info.end_time) == (before.status, before.end_time)
    assert after.data.metrics == {"eval/psnr": 20.0, "eval/usage": 0.5}
    assert after.data.tags["eval/digest"] == "ab"
    assert [file.path for file in MlflowClient().list_artifacts(ended.run_id, "eval")] == ["eval/table.csv"]
    names = [file.path for file in MlflowClient().list_artifacts(ended.run_id, "images")]
    (full,) = (name for name in names if name.startswith("images/eval~grid+step+3") and name.endswith(".png"))
    with Image.open(MlflowClient().download_artifacts(ended.run_id, full)) as stored:
        assert np.array_equal(np.asarray(stored), picture)
    assert len(names) == 2


def test_an_unknown_run_is_named_and_a_deleted_one_with_its_remedy(project: Path) -> None:
    configure(project)
    unknown = "0123456789abcdef"
    with pytest.raises(UserError, match=f"run {unknown} is not in the tracking store"):
        TrackedRun(unknown).metrics({"eval/psnr": 20.0}, 0)
    with new_run(project, family="s", name="n", params={}) as run:
        MlflowClient().delete_run(run.run_id)
        with pytest.raises(UserError) as deleted:
            run.set_tags({"a": "b"})
        MlflowClient().restore_run(run.run_id)
    assert f"mlflow runs restore --run-id {run.run_id}`" in deleted.value.remedy


def test_parameters_are_flattened_under_their_stage() -> None:
    assert logged_params({"a": {"b": True, "c": 2.0e-3}, "d": "text", "stage1": {"e": [1, 2]}}, "stage1") == {
        "stage1.a.b": "true",
        "stage1.a.c": "0.002",
        "stage1.d": "text",
        "stage1.e": "[1, 2]",
    }


def test_a_new_run_is_in_the_store_after_each_call(project: Path) -> None:
    with new_run(project, family="stage2", name="import_net", params={"n": 3}) as run:
        run.datasets([DATA])
        run.metrics({"eval/psnr": 20.0}, 0)
        during = MlflowClient().get_run(run.run_id)
        assert (during.info.status, during.data.metrics["eval/psnr"]) == ("RUNNING", 20.0)
    after = MlflowClient().get_run(run.run_id)
    assert (after.info.status, after.info.run_name) == ("FINISHED", f"import_net@{run.run_id[:8]}")
    assert (after.data.params, after.data.tags["stage"]) == ({"stage2.n": "3"}, "stage2")
    assert [used.dataset.name for used in after.inputs.dataset_inputs] == ["content"]
    assert not (project / ".quantart").exists()


def test_what_the_store_does_not_take_fails_a_new_run_in_the_call(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_artifacts", full)
    with pytest.raises(UserError, match="No space left"), new_run(project, family="s", name="n", params={}) as run:
        run.artifact(tmp_path, "model")
    assert MlflowClient().get_run(run.run_id).info.status == "FAILED"
