"""`torchrun --nproc-per-node 2`: both stages and the codes come out as of one process with the joint batch.

Evaluation in two processes is in test_evaluate.py.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors.torch import load_file

from quantart.pipeline import encode, pair, prepare, stage1, stage2
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]
STEPS = 20
STAGES = ["stage1_base", "stage1_content", "stage2_discrete"]
TASKS = ["stage 1, base", "stage 1, content", "stage 2, discrete"]
GRADIENTS = {"train/grad_norm", "train/adversarial_weight"}
"""They jump where a rounding changes a maximum or a sign in a network; in float64 (training/test_distributed.py) they
agree as the losses do."""
SPEEDS = {"train/images_per_second", "train/data_wait_share"}


class Both(NamedTuple):
    """The same stages by one process, then by two."""

    project: Project
    codes: dict[str, bytes]
    """The files of codes that one process wrote."""
    seen: Path
    """See `several.run`."""


def parameters() -> dict[str, Any]:
    params: dict[str, Any] = from_scratch()
    params["data"] |= {"resolution": 32, "short_side": 40, "val_share": 0.2, "test_share": 0.2}
    params["model"] |= {"ch": 8, "ch_mult": [1, 2], "z_channels": 8, "embed_dim": 8, "n_embed": 16}
    # every part is there: k-means, revival, the discriminator and its batch norm. At an ordinary rate a single rounding
    # of the input changes the losses of one process by 1e-3 within 20 steps too: hence the small one
    every = {"steps": STEPS, "log_every": 1, "validate_every": 10, "checkpoint_every": 10, "learning_rate": 1.0e-6}
    stage_1 = {"crop": 32, "batch_size": 4, "discriminator_start": 6}
    params["stage1"]["base"] |= every | stage_1 | {"quantize_from": 4}
    params["stage1"]["domain"] |= every | stage_1
    params["stage1"]["quantizer"] |= {"decay": 0.5, "revive_below": 0.3}
    # the adaptive weight, a ratio of gradients, jumps where a maximum or a sign in a network changes
    params["stage1"]["discriminator"] |= {"ndf": 4, "weight": 0.001}
    params["encode"] |= {"copies": 2, "batch_size": 3}
    params["stage2"]["train"] |= every | {"crop": 16, "batch_size": 4}
    params["stage2"] |= {"objective": "reference", "network": {"block_num": 1}}
    params["stage2"]["discriminator"] = {"ndf": 4, "start": 2, "weight": 0.1, "reference_order": False}
    return params


def small_sample(project: Project) -> None:
    """Twelve photographs and twelve paintings, where params.yaml looks for them."""
    for domain in ("photos", "paintings"):
        (project.root / "data" / "sample" / domain).mkdir(parents=True)
        for picture in sorted((ROOT / "data" / "sample" / domain).glob("*.jpg"))[:12]:
            shutil.copy(picture, project.root / "data" / "sample" / domain)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    project = Project(tmp_path_factory.mktemp("project"))
    (project.root / "params.yaml").write_text(yaml.safe_dump(parameters()))
    small_sample(project)
    for each in DOMAINS:
        prepare.run(project, each)
    pair.run(project)
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("ACCELERATE_", "MLFLOW_"))]:
            patch.delenv(name)
        patch.setenv("ACCELERATE_MIXED_PRECISION", "no")
        patch.setenv("ACCELERATE_USE_CPU", "true")
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)
        AcceleratorState._reset_state(reset_partial_state=True)
        one_process(project)
        codes = files(project)
        seen = tmp_path_factory.mktemp("seen")
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
        # not sys.path: a packaged model that another test loaded has put its part of the package there
        path = os.pathsep.join(map(str, [ROOT, ROOT / "src", ROOT / "cli"]))
        done = subprocess.run(
            [*launch, "-m", "tests.pipeline.several", str(project.root), str(seen)],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=400,
        )
        assert done.returncode == 0, done.stderr
        yield Both(project, codes, seen)
        AcceleratorState._reset_state(reset_partial_state=True)
    torch.set_num_threads(threads)


def one_process(project: Project) -> None:
    stage1.run(project, "base")
    stage1.run(project, "content")
    shutil.copytree(project.stage1_model("content"), project.stage1_model("style"))  # one network serves for both
    shutil.copy(project.link("stage1_content"), project.link("stage1_style"))
    for each in DOMAINS:
        encode.run(project, each)
    stage2.run(project, "discrete")


def files(project: Project) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in project.codes("content").iterdir()}


def runs_of(project: Project, stage: str) -> list[Run]:
    """Those of a stage, the first one first."""
    client = MlflowClient(f"sqlite:///{project.root}/mlflow.db")
    (experiment,) = client.search_experiments(filter_string="name = 'quantart'")
    found = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    return [run for run in found if run.info.run_name.startswith(f"{stage}@")]


def history(project: Project, run: Run, metric: str) -> dict[int, float]:
    values = MlflowClient(f"sqlite:///{project.root}/mlflow.db").get_metric_history(run.info.run_id, metric)
    assert len({value.step for value in values}) == len(values)
    return {value.step: value.value for value in values}


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_log_one_run_with_the_losses_of_one(both: Both, stage: str) -> None:
    alone, together = runs_of(both.project, stage)
    assert [run.data.tags["processes"] for run in (alone, together)] == ["1", "2"]
    assert {run.info.status for run in (alone, together)} == {"FINISHED"}
    metrics = {name for name in alone.data.metrics if name.startswith(("train/", "val/"))} - SPEEDS
    assert {"train/total_loss", "train/discriminator_loss", "train/adversarial_loss"} <= metrics
    assert metrics == {name for name in together.data.metrics if name.startswith(("train/", "val/"))} - SPEEDS
    for name in sorted(metrics):
        expected = history(both.project, alone, name)
        near = {"rel": 0.05} if name in GRADIENTS else {"rel": 1e-4, "abs": 1e-4}
        assert history(both.project, together, name) == pytest.approx(expected, **near), name
    assert sorted(history(both.project, together, "train/total_loss")) == list(range(1, STEPS + 1))


@pytest.mark.parametrize("task", TASKS)
def test_both_processes_end_with_the_same_networks_and_codebooks(both: Both, task: str) -> None:
    first, second = (load_file(both.seen / f"{task}-{rank}.safetensors") for rank in range(2))
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert any("embedding" in name for name in first)


def test_the_codes_were_revived_too(both: Both) -> None:
    assert max(history(both.project, runs_of(both.project, "stage1_base")[1], "train/revived").values()) > 0


def test_only_the_first_process_writes_checkpoints(both: Both) -> None:
    written = [(both.seen / f"checkpoints-{rank}").read_text() for rank in range(2)]
    assert written == ["10 20 10 20 10 20", ""]


def test_two_processes_write_the_very_codes_that_one_writes(both: Both) -> None:
    assert files(both.project) == both.codes
