"""The benchmarks can be run, and write what their readers expect."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.reference import ReferenceLoss
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.reference_objective import ReferenceObjective

from .models.networks import small_stage_1

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_a_case_ends_with_its_figures_as_json() -> None:
    command = [sys.executable, BENCHMARKS / "run.py", "prepare", "--batch", "4", "--rounds", "1", "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout.splitlines()[-1])
    assert {"name", "ratio", "ours_s", "reference_s", "peak_mb", "floor_s"} <= figures.keys()
    assert figures["ratio"] == pytest.approx(figures["reference_s"] / figures["ours_s"])


def test_worker_processes_do_not_import_the_networks_with_the_benchmark() -> None:
    code = "import runpy, sys; runpy.run_path(sys.argv[1], run_name='__mp_main__'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code, BENCHMARKS / "run.py"]).returncode == 0


def test_the_stages_of_two_revisions_stand_in_a_section_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    pipeline, report = importlib.import_module("pipeline"), importlib.import_module("report")
    lines = pipeline.table({"old": {"pair": 1.0, "gone": 2.0}, "new": {"pair": 0.5, "export": 4.0}})
    assert lines[2:] == ["| pair | 1.0 | 0.5 |", "| gone | 2.0 | – |", "| export | – | 4.0 |", "| all | 3.0 | 4.5 |"]
    results = tmp_path / "RESULTS.md"
    results.write_text("# Speed\n\ntable\n\n## Other\n\ntext\n")
    for _ in range(2):
        report.write_section(results, "Stages", lines)
    assert results.read_text() == "# Speed\n\ntable\n\n## Other\n\ntext\n\n## Stages\n\n" + "\n".join(lines) + "\n"


def test_the_references_step_of_stage_2_trains_the_style_transfer_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    reference = importlib.import_module("reference")
    model = ExperimentStage2.from_stage1(small_stage_1(1), small_stage_1(2), block_num=1)
    objective = ReferenceObjective(model, ReferenceLoss(NLayerDiscriminator(8, 4, 0)), reference_order=True)
    update = reference.stage_2_step(objective.train(), learning_rate=0.1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    update(*torch.rand(2, 2, 3, 32, 32))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("model_x2y.") for name in changed)
