"""What both training stages do around the loop: the tracked run, the checkpoints, the model folder, the link."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from quantart.errors import UserError
from quantart.machine.disk import room_for, writing
from quantart.models.pretrained import DISCRIMINATOR, WEIGHTS, Pretrained, file_sha256
from quantart.params.training import TrainingParams
from quantart.pipeline.pair import log_pairs
from quantart.project import Project
from quantart.tracking.links import RunLink, write_link
from quantart.tracking.runs import DataUsed
from quantart.tracking.session import SpooledRun, stage_run
from quantart.tracking.store import EXPERIMENT
from quantart.tracking.survivors import ends_failed
from quantart.training.checkpoint import Checkpoints, fingerprint
from quantart.training.launch import make_accelerator
from quantart.training.loop import Task, train
from quantart.training.lost import lost_process

VALIDATION_PICTURES = 24
GRID_ROWS = 6
LOG_BYTES = 10_000_000  # of metrics and pictures, for what is said of a full disk


class _Silent:
    """The logger of all processes but the first."""

    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def image(self, key: str, array: np.ndarray, step: int) -> None: ...


def run_training(
    project: Project,
    *,
    stage: str,
    parameters: dict[str, Any],
    training: TrainingParams,
    datasets: list[DataUsed],
    upstream: dict[str, str],
    validated_on: list[str],
    seed: int,
    make_task: Callable[[Accelerator], Task],
    out: Path,
    codes: list[dict[str, Any]] | None = None,
    pairs: Path | None = None,
) -> None:
    """Train one stage as one tracked run and write its model folder and `runs/<stage>.json`.

    Args:
        stage: file-safe name, e.g. `stage1_content`.
        parameters: everything that decides the result; logged under the stage's prefix.
        datasets: the data trained on.
        upstream: stage to run id of what this stands on.
        validated_on: digests of the validation data: with others, the curves of one run would not fit together.
        make_task: builds model, losses and batches once the device is known.
        out: the model folder, replaced when all is done.
        codes: how the codes were made that it trains on.
        pairs: file of the validation pairs, kept with the run.
    """
    accelerator = make_accelerator(seed)
    if training.batch_size % accelerator.num_processes:
        raise UserError(
            f"{stage}: batch_size {training.batch_size} is not divisible by {accelerator.num_processes} processes"
        )
    checkpoints = Checkpoints(
        project.checkpoints(stage),
        fingerprint(
            parameters=parameters,
            datasets=[data.digest for data in datasets],
            codes=codes,
            validated_on=validated_on,
            upstream=upstream,
            seed=seed,
        ),
        say=accelerator.print,
    )
    if accelerator.is_main_process:
        checkpoints.prepare()
    accelerator.wait_for_everyone()
    task = make_task(accelerator)

    main = accelerator.is_main_process
    tracked = _tracked(project, stage, parameters, datasets, upstream, checkpoints)
    with (
        lost_process(checkpoints.advice),
        room_for("the log of this run", LOG_BYTES, project.root, checkpoints.advice),
        tracked if main else ends_failed(project.root, lambda: checkpoints.run_id) as run,
    ):
        if run is not None:
            checkpoints.run_id = run.run_id
            run.set_tags(_machine(accelerator))
            if pairs is not None:
                log_pairs(run, pairs)
        model = train(
            task, training, seed=seed, accelerator=accelerator, checkpoints=checkpoints, logger=run or _Silent()
        )
        if run is not None:
            with writing(f"{out.name} with its copy in the run", 2 * _bytes(model), out.parent, checkpoints.advice):
                _replace(out, cast(Pretrained, model))
            run.artifact(out, "model")
            write_link(project.link(stage), RunLink(stage, run.run_id, EXPERIMENT))
    accelerator.wait_for_everyone()
    if main:
        checkpoints.clear()
    accelerator.end_training()


def take_over(
    project: Project,
    *,
    stage: str,
    parameters: dict[str, Any],
    model: Pretrained,
    source: Path,
    seed: int,
    out: Path,
) -> None:
    """Make a model that is there already the result of a stage: its folder, tracked run and link, without training.

    Args:
        stage, parameters: see `run_training`.
        model: opened from `source`.
        source: folder of the model, whose discriminator comes along.
        out: the model folder, replaced when all is done.
    """
    accelerator = make_accelerator(seed)
    if accelerator.is_main_process:
        kept = source / DISCRIMINATOR
        with stage_run(project.root, stage=stage.split("_")[0], name=stage, params=parameters) as run:
            run.set_tags({"model.sha256": file_sha256(source / WEIGHTS)})  # the import's run has it too
            _replace(out, model, beside=[kept] if kept.is_file() else [])
            run.artifact(out, "model")
            write_link(project.link(stage), RunLink(stage, run.run_id, EXPERIMENT))
    accelerator.wait_for_everyone()
    accelerator.print(f"{stage}: taken over from {source}, nothing to train")
    accelerator.end_training()


def _tracked(
    project: Project,
    stage: str,
    parameters: dict[str, Any],
    datasets: list[DataUsed],
    upstream: dict[str, str],
    checkpoints: Checkpoints,
) -> AbstractContextManager[SpooledRun]:
    return stage_run(
        project.root,
        stage=stage.split("_")[0],
        name=stage,
        params=parameters,
        run_id=checkpoints.run_id,
        upstream=upstream,
        datasets=datasets,
    )


def _machine(accelerator: Accelerator) -> dict[str, str]:
    return {
        "device": accelerator.device.type,
        "mixed_precision": accelerator.mixed_precision,
        "processes": str(accelerator.num_processes),
        "threads": str(torch.get_num_threads()),
    }


def _bytes(model: nn.Module) -> int:
    """Bytes of a network's weights and buffers."""
    return sum(tensor.nbytes for tensor in model.state_dict().values())


def _replace(out: Path, model: Pretrained, beside: Iterable[Path] = ()) -> None:
    fresh = out.with_name(f".{out.name}.writing")
    shutil.rmtree(fresh, ignore_errors=True)
    model.save_pretrained(fresh)
    for file in beside:
        shutil.copyfile(file, fresh / file.name)
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)
