"""Runs a training: the tracked run, the checkpoints, the model's folder and the link to the run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator

from quantart.data.pictures import PackedPictures, some_pictures
from quantart.data.store import mirror
from quantart.errors import UserError
from quantart.machine.disk import room_for, writing
from quantart.machine.whole import whole_folder
from quantart.models.folder import WEIGHTS, file_sha256
from quantart.models.pretrained import Pretrained
from quantart.params import Params
from quantart.params.training import TrainingParams
from quantart.pipeline.stages import split_name, stage_parameters
from quantart.project import Project
from quantart.tracking.lineage import DataUsed
from quantart.tracking.links import RunLink, read_link, write_link
from quantart.tracking.runs import SpooledRun, stage_run, stands_in
from quantart.tracking.store import EXPERIMENT
from quantart.tracking.writer import TrackedRun
from quantart.training.checkpoint import Checkpoints, fingerprint
from quantart.training.launch import make_accelerator
from quantart.training.loop import TrainingTask, train
from quantart.training.machines import agree
from quantart.training.stopping import lost_process
from quantart.vocabulary.names import Domain, Split

# in a folder `data`, of each domain
PICTURES = "prepared/{}/index.arrow"
CODES = "codes/{}/index.json"
WEIGHTS_TAG = "model.sha256"
LOG_BYTES = 10_000_000  # of metrics and pictures, for what is said of a full disk


class _Silent:
    """The logger of all processes but the first."""

    def metrics(self, values: Mapping[str, float], step: int) -> None: ...

    def image(self, key: str, array: np.ndarray, step: int) -> None: ...


@dataclass(frozen=True)
class TrackedTraining:
    """A training as one tracked run, and all that decides its result beside the parameters that its stage reads."""

    stage: str  # file-safe name, e.g. `stage1_content`
    training: TrainingParams  # its section of the parameters
    make_task: Callable[..., TrainingTask]  # builds model, losses and batches from the keyword `accelerator`
    train: Mapping[Domain, PackedPictures]
    val: Mapping[Domain, PackedPictures]  # with other ones, the curves of one run would not fit together
    networks: Mapping[str, Path]  # folders of the networks that it stands on, by the stage that made them
    out: Path  # the model's folder, replaced when all is done
    codes: Sequence[dict[str, Any]] = ()  # how the codes were made that it trains on
    pairs: Path | None = None  # file with the validation pairs, kept with the run


def run_training(project: Project, params: Params, tracked: TrackedTraining) -> None:
    """Train as one tracked run; write the model's folder and `runs/<stage>.json`."""
    accelerator = make_accelerator(params.seed)
    size, processes = tracked.training.batch_size, accelerator.num_processes
    if size % processes:
        raise UserError(f"{tracked.stage}: batch_size {size} is not divisible by {processes} processes")
    main = accelerator.is_main_process
    pictures = tracked.train.items()
    used = [DataUsed(d, each.digest, params.data.folder(d), "training", len(each)) for d, each in pictures]
    parts = _parts(params, tracked)
    checkpoints = Checkpoints(project.checkpoints(tracked.stage), fingerprint(**parts))
    with lost_process(checkpoints.advice):
        agree(project.root, {"stage": tracked.stage} | parts, checkpoints.begun)
        if main:
            checkpoints.prepare()
        accelerator.wait_for_everyone()
        task = tracked.make_task(accelerator=accelerator)
    with (
        lost_process(checkpoints.advice),
        room_for("the log of this run", LOG_BYTES, project.root, checkpoints.advice),
        _tracked(project, params, tracked, used, checkpoints, accelerator) as run,
    ):
        model = train(
            task,
            tracked.training,
            seed=params.seed,
            accelerator=accelerator,
            checkpoints=checkpoints,
            logger=run or _Silent(),
        )
        if run is not None:
            room = 2 * sum(tensor.nbytes for tensor in model.state_dict().values())
            with (
                writing(f"{tracked.out.name} with its copy in the run", room, tracked.out.parent, checkpoints.advice),
                whole_folder(tracked.out) as fresh,
            ):
                cast(Pretrained, model).save_pretrained(fresh)
            keep_model(project, tracked.stage, tracked.out, run)
    accelerator.wait_for_everyone()
    if main:
        checkpoints.clear()
    accelerator.end_training()


def keep_model(project: Project, stage: str, folder: Path, run: SpooledRun) -> None:
    """Log the stage's network to its run, and write the link to the run."""
    run.artifact(folder, RunLink.model)
    run.set_tags({WEIGHTS_TAG: file_sha256(folder / WEIGHTS)})
    write_link(project.link(stage), RunLink(stage, run.run_id, EXPERIMENT))


def log_pairs(run: TrackedRun | SpooledRun, path: Path) -> None:
    """Keep a file of pairs with a run: as the artifact `pairs/<split>.csv`, its sha256 as the tag `pairs.<split>`."""
    run.artifact(path, "pairs")
    run.set_tags({f"pairs.{path.stem}": file_sha256(path)})


def _parts(params: Params, tracked: TrackedTraining) -> dict[str, Any]:
    """All that decides the result."""
    networks: dict[str, str] = {}
    for stage, folder in tracked.networks.items():
        if not folder.is_dir():
            raise UserError(f"{folder}: not found", "the stage that writes it has not run yet: `dvc repro` runs it")
        networks |= {f"{stage}/{file.name}": file_sha256(file) for file in sorted(folder.iterdir())}
    validated_on = [pictures.digest for pictures in tracked.val.values()]
    return {
        "parameters": stage_parameters(params, tracked.stage),
        "datasets": [pictures.digest for pictures in tracked.train.values()],
        "codes": list(tracked.codes),
        "validated_on": [*validated_on, *([file_sha256(tracked.pairs)] if tracked.pairs else [])],
        "networks": networks,
    }


def with_data(project: Project, address: str | None, names: Sequence[str]) -> Project:
    """The project with the data of the store at `address`, whose files `names` are copied now; None: its own."""
    if address is None:
        return project
    fetched = project.root / ".quantart" / "fetched" / hashlib.sha256(address.encode()).hexdigest()[:16]
    mirror(address, names, fetched)
    return replace(project, fetched=fetched)


def prepared_pictures(
    project: Project, domains: Sequence[Domain]
) -> tuple[dict[Domain, PackedPictures], dict[Domain, PackedPictures]]:
    """The training and the validation pictures; UserError where a domain has none."""
    splits: tuple[Split, Split] = ("train", "val")
    train, val = ({each: some_pictures(project.prepared(each), split) for each in domains} for split in splits)
    return train, val


def upstream_runs(project: Project, stages: Iterable[str]) -> dict[str, str]:
    """Ids of the runs that made the networks, as far as they are known."""
    links = {stage: project.link(stage) for stage in stages}
    return {stage: read_link(path).run_id for stage, path in links.items() if path.is_file()}


@contextmanager
def _tracked(
    project: Project,
    params: Params,
    tracked: TrackedTraining,
    used: Sequence[DataUsed],
    checkpoints: Checkpoints,
    accelerator: Accelerator,
) -> Iterator[SpooledRun | None]:
    """The tracked run in the first process; None in the others, which end the run where the first one dies."""
    opened: AbstractContextManager[SpooledRun | None]
    if accelerator.is_main_process:
        opened = stage_run(
            project.root,
            family=split_name(tracked.stage)[0],
            name=tracked.stage,
            params=stage_parameters(params, tracked.stage),
            run_id=checkpoints.run_id,
            upstream=upstream_runs(project, tracked.networks),
            datasets=used,
        )
    else:
        opened = stands_in(project.root)
    with opened as run:
        if run is not None:
            checkpoints.run_id = run.run_id
            machine = {"device": accelerator.device.type, "mixed_precision": accelerator.mixed_precision}
            number = {"processes": str(accelerator.num_processes), "threads": str(torch.get_num_threads())}
            run.set_tags(machine | number)
            if tracked.pairs is not None:
                log_pairs(run, tracked.pairs)
        yield run
