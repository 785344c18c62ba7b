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
from quantart.reporting.painting import RULE

COLUMNS = "variant,method,metric,value,low,high,n"
ROWS = """
discrete,model,texture_net,0.9,0.88,0.92,48
discrete,model,structure_net,0.51234,0.5,0.53,48
discrete,model,gram_net,0.5,0.4,0.6,48
discrete,colour_matched,texture_net,1,0.9,1.1,48
continuous,model,texture_net,0.8,0.7,0.85,48
continuous,colour_matched,texture_net,1,0.9,1.1,48
"reconstruction, style",model,psnr,25,24,26,21
"""


@pytest.fixture(scope="module", autouse=True)
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One for all tests here, since making the schema takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")
        yield


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "reports" / "grids").mkdir(parents=True)
    (tmp_path / "reports" / "summary.csv").write_text(COLUMNS + ROWS)
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


def test_the_headlines_stand_side_by_side_with_their_intervals(project: Project) -> None:
    text = shown(project)
    assert row(text, "texture_net") == ["texture_net", "0.9 (0.88 to 0.92)", "0.8 (0.7 to 0.85)"]
    assert row(text, "structure_net") == ["structure_net", "0.5123 (0.5 to 0.53)", "–"]
    assert "gram_net" not in text
    assert "psnr" not in text


def test_it_says_which_model_paints(project: Project) -> None:
    lines = shown(project).splitlines()
    assert lines.count("discrete tints") == lines.count("continuous paints") == lines.count(RULE) == 1


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
    rows = [line for line in ROWS.splitlines() if line.startswith("continuous")]
    (project.reports / "summary.csv").write_text("\n".join([COLUMNS, *rows]))
    assert row(shown(project), "texture_net") == ["texture_net", "0.8 (0.7 to 0.85)"]


def test_before_anything_was_evaluated_it_says_what_to_run(tmp_path: Path) -> None:
    assert shown(Project(tmp_path)) == "Nothing evaluated yet: run dvc repro.\n"
