"""What a run stands on, and which run is the other variant of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.tracking.find import run_if_there
from quantart.tracking.lineage import DataUsed, ancestry, data_of, find_sibling
from quantart.tracking.runs import stage_run

PHOTOS = DataUsed("content", "c0" * 32, "data/photos", "training", 63)
PAINTINGS = DataUsed("style", "50" * 32, "data/paintings", "training", 105)


def trained(project: Path, name: str, upstream: dict[str, str], *used: DataUsed) -> str:
    with stage_run(project, family="stage", name=name, params={}, upstream=upstream, datasets=used) as run:
        pass
    return run.run_id


def test_all_runs_below_are_found_once_and_their_data_too(project: Path) -> None:
    base = trained(project, "base", {}, PHOTOS, PAINTINGS)
    content = trained(project, "content", {"base": base}, PHOTOS)
    style = trained(project, "style", {"base": base, "gone": "0123"}, PAINTINGS)
    top = trained(project, "stage2", {"content": content, "style": style}, PHOTOS)
    found = ancestry([MlflowClient().get_run(top)])
    assert [(stage, run.info.run_id) for stage, run in found] == [
        ("", top),
        ("content", content),
        ("style", style),
        ("base", base),
    ]
    runs = [run for _, run in found]
    assert data_of(runs) == [PHOTOS, PAINTINGS]
    assert data_of(runs[:2]) == [PHOTOS]


def test_data_is_listed_once_per_context(project: Path) -> None:
    test = DataUsed("content", "7e" * 32, "data/photos", "test", 12)
    run = MlflowClient().get_run(trained(project, "evaluated", {}, PHOTOS, test))
    assert data_of([run, run]) == [test, PHOTOS]


def test_a_store_that_does_not_answer_is_not_taken_for_a_missing_run(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = MlflowClient().get_run(trained(project, "top", {"base": "0123"}))
    assert run_if_there("0123") is None
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri("http://127.0.0.1:9")  # where nobody listens
    try:
        with pytest.raises(MlflowException, match="127.0.0.1"):
            ancestry([run])
    finally:
        mlflow.set_tracking_uri(before)


def variant_run(project: Path, variant: str, style: str = "50", **params: Any) -> str:
    settings = {"variant": variant, "steps": 8, **params}
    upstream = {"stage1_content": "c0", "stage1_style": style}
    with stage_run(project, family="stage2", name=f"stage2_{variant}", params=settings, upstream=upstream) as run:
        pass
    return run.run_id


def sibling(run_id: str) -> str | None:
    found = find_sibling(MlflowClient().get_run(run_id))
    return found.info.run_id if found else None


def test_the_sibling_is_the_latest_finished_run_that_differs_in_the_variant_alone(project: Path) -> None:
    discrete = variant_run(project, "discrete")
    variant_run(project, "discrete")
    variant_run(project, "continuous", steps=9)
    variant_run(project, "continuous", style="51")
    assert sibling(discrete) is None
    first, second = (variant_run(project, "continuous") for _ in range(2))
    assert sibling(discrete) == second
    assert sibling(first) != discrete  # a later discrete run is its sibling
    with pytest.raises(RuntimeError), stage_run(project, family="stage2", name="failed", params={}):
        raise RuntimeError
    assert sibling(discrete) == second


def test_a_run_without_upstream_has_no_sibling(project: Path) -> None:
    with stage_run(project, family="stage2", name="imported", params={"variant": "discrete"}) as run:
        pass
    variant_run(project, "continuous")
    assert sibling(run.run_id) is None
