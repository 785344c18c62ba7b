"""The last lines of `make run`."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from quantart.pipeline.summary import print_summary
from quantart.project import Project

METRICS = {
    "discrete": {"psnr": 21.26789, "gram_squeezenet1_1": 0.125, "usage": 0.5, "n": 48},
    "continuous": {"psnr": 22.5, "gram_squeezenet1_1": 0.25, "n": 48},
    "reconstruction": {"style": {"psnr": 25.0, "n": 21}},
}


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests here, since making the schema takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
        yield


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "reports" / "grids").mkdir(parents=True)
    (tmp_path / "reports" / "metrics.json").write_text(json.dumps(METRICS))
    for name in ("discrete", "continuous"):
        (tmp_path / "reports" / "grids" / f"{name}.png").touch()
    return Project(tmp_path)


def shown(project: Project) -> str:
    out = io.StringIO()
    print_summary(project, Console(file=out, width=120))
    return out.getvalue()


def row(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip(" │").startswith(name)]
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_metrics_stand_side_by_side(project: Project) -> None:
    text = shown(project)
    assert row(text, "psnr") == ["psnr", "21.268", "22.500"]
    assert row(text, "usage") == ["usage", "0.500", "–"]  # the continuous variant has no codebook
    assert row(text, "gram_squeezenet1_1") == ["gram_squeezenet1_1", "0.125", "0.250"]


def test_it_says_where_to_look(project: Project) -> None:
    text = shown(project)
    assert "reports/grids/continuous.png  reports/grids/discrete.png" in text
    assert "quantart ui, then http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning\n" in text
    assert "registered" not in text


def test_a_registered_model_is_named_with_how_to_serve_it(project: Project) -> None:
    project.link("export").parent.mkdir()
    project.link("export").write_text(
        json.dumps({"name": "quantart", "version": "3", "alias": "challenger", "run_id": "3f2a"})
    )
    text = shown(project)
    assert "models:/quantart/3" in text
    assert "quantart serve" in text


def test_one_variant_alone_is_enough(project: Project) -> None:
    (project.reports / "metrics.json").write_text(json.dumps({"continuous": METRICS["continuous"]}))
    assert row(shown(project), "psnr") == ["psnr", "22.500"]


def test_before_anything_was_evaluated_it_says_what_to_run(tmp_path: Path) -> None:
    assert shown(Project(tmp_path)) == "Nothing evaluated yet: run make run or dvc repro.\n"
