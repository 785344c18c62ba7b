"""What a run stands on."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.tracking.lineage import data_of, run_if_there, with_ancestors
from quantart.tracking.runs import DataUsed
from quantart.tracking.session import stage_run

PHOTOS = DataUsed("content", "c0" * 32, "data/photos", "training", 63)
PAINTINGS = DataUsed("style", "50" * 32, "data/paintings", "training", 105)


def trained(project: Path, name: str, upstream: dict[str, str], *used: DataUsed) -> str:
    with stage_run(project, stage="stage", name=name, params={}, upstream=upstream, datasets=used) as run:
        pass
    return run.run_id


def test_all_runs_below_are_found_once_and_their_data_too(project: Path) -> None:
    base = trained(project, "base", {}, PHOTOS, PAINTINGS)
    content = trained(project, "content", {"base": base}, PHOTOS)
    style = trained(project, "style", {"base": base, "gone": "0123"}, PAINTINGS)
    top = trained(project, "stage2", {"content": content, "style": style}, PHOTOS)
    runs = with_ancestors([MlflowClient().get_run(top)])
    assert [run.info.run_id for run in runs] == [top, content, style, base]
    assert data_of(runs) == [PHOTOS, PAINTINGS]
    assert data_of(runs[:2]) == [PHOTOS]


def test_what_was_done_with_the_data_counts(project: Path) -> None:
    test = DataUsed("content", "7e" * 32, "data/photos", "test", 12)
    run = MlflowClient().get_run(trained(project, "evaluated", {}, PHOTOS, test))
    assert data_of([run]) == [test, PHOTOS]


def test_a_store_that_does_not_answer_is_no_run_that_is_gone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = MlflowClient().get_run(trained(project, "top", {"base": "0123"}))
    assert run_if_there("0123") is None
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")  # where nobody listens
    try:
        with pytest.raises(MlflowException, match="127.0.0.1"):
            with_ancestors([run])
    finally:
        mlflow.set_tracking_uri(before)
