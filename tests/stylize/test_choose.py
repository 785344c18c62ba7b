"""Graphs paint where they can, torch where they can't."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from quantart.models.stage_2 import ExperimentStage2
from quantart.project import Project
from quantart.stylize.choose import chosen_painter
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.stylizer import Stylizer
from quantart.vocabulary.names import VARIANTS

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_quantart_open_and_a_folder_like_it_are_painted_by_graphs_at_any_alpha_they_have(tmp_path: Path) -> None:
    ExperimentStage2.from_pretrained("quantart/open").save_pretrained(tmp_path / "model")
    for model, alpha in (("quantart/open", None), ("quantart/open", 0.5), (str(tmp_path / "model"), None)):
        painter, fidelity = chosen_painter(None, [model], alpha)
        assert (type(painter), fidelity.alpha) == (GraphPainter, alpha or 1.0)


def test_a_project_of_lean_networks_is_painted_by_graphs(tmp_path: Path) -> None:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    painter = ExperimentStage2.from_pretrained("quantart/open")
    project = Project(tmp_path)
    for model in (painter, painter.without_codebooks()):
        model.save_pretrained(project.stage2_model(model.variant))
    for alpha in (None, 0.0, 0.5):
        assert type(chosen_painter(project, [], alpha)[0]) is GraphPainter
    both = [str(project.stage2_model(variant)) for variant in VARIANTS]
    assert type(chosen_painter(None, both, 1.0)[0]) is Stylizer


def test_refining_and_other_networks_need_torch(network: ExperimentStage2, tmp_path: Path) -> None:
    assert type(chosen_painter(None, ["quantart/open"], None, refine=2)[0]) is Stylizer
    network.save_pretrained(tmp_path / "reference")
    assert type(chosen_painter(None, [str(tmp_path / "reference")], None)[0]) is Stylizer


def test_where_there_may_be_a_gpu_torch_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantart.stylize.choose.surely_cpu", lambda: False)
    assert type(chosen_painter(None, ["quantart/open"], None)[0]) is Stylizer
