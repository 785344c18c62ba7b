"""The scripts of examples/slurm in a real SLURM: several nodes train one model, are stopped, resume, do it all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from ..test_end_to_end import STAGES, call, make_repository
from .projects import REPOSITORY, copy_project, runs_of, steps_kept
from .projects import wait_until as wait
from .slurm import Cluster, cluster, lacking

pytestmark = [pytest.mark.faults, pytest.mark.skipif(bool(lacking()), reason=lacking())]
TRAIN = str(REPOSITORY / "examples/slurm/train.sbatch")
BASE = ("stage1", "--domain", "base")
wait_until = partial(wait, timeout=1800)  # the pipeline takes minutes
LONG = {"stage1.base.steps": 2000, "stage1.base.validate_every": 2000, "stage1.base.checkpoint_every": 2}


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("slurm")) as made:
        yield made


def submit(slurm: Cluster, root: Path, *arguments: str) -> str:
    """The number of the job."""
    return slurm.run(root, "sbatch", "--parsable", "--output=out.txt", *arguments).strip()


def begin_again(slurm: Cluster, root: Path, job: str) -> None:
    """Begin a job that went back into the queue without the two minutes that SLURM lets it wait."""
    wait_until(lambda: slurm.job(job)["JobState"] == "PENDING", "the job in the queue")
    slurm.run(root, "scontrol", "update", f"JobId={job}", "StartTime=now")


def ended(slurm: Cluster, job: str, state: str) -> bool:
    now = slurm.job(job)["JobState"]
    assert now in ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", state)
    return now == state


def test_srun_trains_one_model_in_one_run_on_two_nodes(slurm: Cluster, prepared: Path, tmp_path: Path) -> None:
    root = copy_project(prepared, tmp_path / "project")
    slurm.run(root, "srun", "--nodes=2", "--ntasks=2", "quantart", "train", *BASE)
    (run,) = runs_of(root, "stage1_base")
    assert (run.info.status, run.data.tags["processes"]) == ("FINISHED", "2")
    assert (root / "models/stage1_base/model.safetensors").is_file()


def test_a_training_told_to_stop_goes_back_into_the_queue_and_resumes(
    slurm: Cluster, prepared: Path, tmp_path: Path
) -> None:
    root = copy_project(prepared, tmp_path / "project", LONG | {"stage1.base.steps": 40})
    job = submit(slurm, root, TRAIN, *BASE)
    wait_until(lambda: steps_kept(root, "stage1_base"), "a checkpoint")
    slurm.run(root, "scancel", "--signal=TERM", job)  # to the steps, as before the time limit
    begin_again(slurm, root, job)
    wait_until(lambda: ended(slurm, job, "COMPLETED"), "the end")
    said = (root / "out.txt").read_text()
    assert "stopped by SIGTERM: a checkpoint was written after step" in said
    assert "resuming after step" in said
    (run,) = runs_of(root, "stage1_base")
    assert run.info.status == "FINISHED"


def test_a_preempted_training_makes_room_and_resumes(slurm: Cluster, prepared: Path, tmp_path: Path) -> None:
    root = copy_project(prepared, tmp_path / "project", LONG)
    job = submit(slurm, root, TRAIN, *BASE)
    wait_until(lambda: steps_kept(root, "stage1_base"), "a checkpoint")
    slurm.run(root, "srun", "--partition=high", "--nodes=2", "true")
    assert "stopped by SIGTERM: a checkpoint was written after step" in (root / "out.txt").read_text()
    begin_again(slurm, root, job)
    wait_until(lambda: "resuming after step" in (root / "out.txt").read_text(), "the resume")
    slurm.run(root, "scancel", job)
    wait_until(lambda: ended(slurm, job, "CANCELLED"), "the end")


def test_where_it_may_not_be_queued_again_the_exit_code_is_143(slurm: Cluster, prepared: Path, tmp_path: Path) -> None:
    root = copy_project(prepared, tmp_path / "project", LONG)
    job = submit(slurm, root, "--no-requeue", TRAIN, *BASE)
    wait_until(lambda: steps_kept(root, "stage1_base"), "a checkpoint")
    slurm.run(root, "scancel", "--signal=TERM", job)
    wait_until(lambda: ended(slurm, job, "FAILED"), "the end")
    assert slurm.job(job)["ExitCode"] == "143:0"
    (run,) = runs_of(root, "stage1_base")
    assert run.info.status == "KILLED"


def test_the_pipeline_runs_as_dependent_jobs_and_dvc_knows_all_results(slurm: Cluster, tmp_path: Path) -> None:
    root = tmp_path / "project"
    shutil.copytree(REPOSITORY / "examples", root / "examples")
    make_repository(root)
    last = slurm.run(root, "examples/slurm/pipeline.sh", "--output=out.txt", "--open-mode=append").strip()
    wait_until(lambda: ended(slurm, last, "COMPLETED"), "the last job's end")
    lock = yaml.safe_load((root / "dvc.lock").read_text())
    assert sorted(lock["stages"]) == sorted(STAGES)
    assert "up to date" in call(root, "dvc", "status").stdout
    for stage in ("stage1_base", "stage1_content", "stage1_style", "stage2_discrete", "stage2_continuous"):
        (run,) = runs_of(root, stage)
        assert (run.info.status, run.data.tags["processes"]) == ("FINISHED", "2")
