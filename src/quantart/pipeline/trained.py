"""A trained network and the tracked run that belongs to it, by the stage that trained it or by the run."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from mlflow.entities import Run

from quantart.errors import UserError
from quantart.models.folder import CONFIG, WEIGHTS, file_sha256
from quantart.models.shipped import SHIPPED, shipped, shipped_training
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.stages import split_name, stage_parameters
from quantart.pipeline.training import WEIGHTS_TAG, upstream_runs
from quantart.project import Project
from quantart.tracking.find import (
    deleted_run,
    find_model,
    find_run,
    linked_run,
    resolve,
    run_if_there,
    run_in_words,
    select_runs,
    store_id,
)
from quantart.tracking.lineage import UPSTREAM, DataUsed
from quantart.tracking.links import RunLink, read_link
from quantart.tracking.spool import find_spools
from quantart.tracking.store import without_password
from quantart.tracking.writer import new_run
from quantart.vocabulary.names import DOMAINS

Network = ExperimentStage1 | ExperimentStage2
IMPORTED, LICENCE = "imported.file", "licence."
"""Tags of a run: what its network was made from; and, with the data's digest behind, the licence of data trained on."""
_KINDS: dict[str, type[Network]] = {kind.__name__: kind for kind in (ExperimentStage1, ExperimentStage2)}

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Trained:
    """A network on disk, and the run that gets what is found out about it."""

    folder: Path
    run: Run

    @property
    def name(self) -> str:
        return f"run {run_in_words(self.run)}"

    def load(self) -> Network:
        """The network in eval mode on the CPU."""
        try:
            kind = json.loads((self.folder / CONFIG).read_text(encoding="utf8"))["model"]
        except (OSError, ValueError, KeyError):
            raise UserError(f"{self.name}: its model has no readable {CONFIG}", "train it again") from None
        if kind not in _KINDS:
            raise UserError(f"{self.name}: its model is a {kind}", f"name a run with one of {', '.join(_KINDS)}")
        return _KINDS[kind].from_pretrained(self.folder)

    def load_stage_2(self, purpose: str) -> ExperimentStage2:
        """As `load`; one of stage 1, with which `purpose` is impossible, is a `UserError`."""
        network = self.load()
        if not isinstance(network, ExperimentStage2):
            raise UserError(f"{self.name}: its model is of stage 1, and {purpose} needs one of stage 2")
        return network


def project_network(project: Project, stage: str) -> Trained:
    """The network in `models/<stage>`, in the configured store.

    Its run is the one that `runs/<stage>.json` names. If the store does not have that one (it belongs to another
    project folder or store), a run with the same network takes its place, and is made if there is none yet.
    """
    folder = project.root / "models" / stage
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder}: no trained network", "`dvc repro` trains it, `dvc pull` fetches it")
    return Trained(folder, _by_the_first(lambda: _run_of(project, stage, folder)))


def named_run(root: Path, text: str) -> Run:
    """As `find_run`; that of `quantart/open`, the model that comes with the package, is made if there is none yet.

    Args:
        root: the folder whose tracking store is configured.
    """
    return _by_the_first(lambda: _run_of_shipped(root)) if text == SHIPPED else find_run(text)


@contextmanager
def run_network(run: Run) -> Iterator[Trained]:
    """The network that a run logged, on disk within the block."""
    with TemporaryDirectory() as folder:
        yield Trained(find_model(run, Path(folder)), run)


def _by_the_first(make: Callable[[], Run]) -> Run:
    """The run that the first process finds or makes, in all of them."""
    found = [make() if PartialState().is_main_process else None]
    broadcast_object_list(found)
    return found[0]


def _run_of(project: Project, stage: str, folder: Path) -> Run:
    link = project.link(stage)
    if run := linked_run(link):
        return run
    linked = read_link(link).run_id if link.is_file() else None
    if linked and any(spool.local_id == linked for spool in find_spools(project.root)):
        resolve(linked)  # says how to deliver it
    sha256, family = file_sha256(folder / WEIGHTS), split_name(stage)[0]
    if found := _run_with(family, stage, sha256):
        return found
    with new_run(project.root, family=family, name=stage, params=stage_parameters(project.params(), stage)) as made:
        upstream = upstream_runs(project, [f"stage1_{domain}" for domain in DOMAINS] if family == "stage2" else [])
        origin = {"stands_for": linked} if linked else {}
        made.set_tags({WEIGHTS_TAG: sha256, **origin, **{f"{UPSTREAM}{name}": run for name, run in upstream.items()}})
        made.artifact(folder, RunLink.model)
    run = find_run(made.run_id)
    known = store_id(linked) if linked else None
    deleted = run_if_there(known) if known else None
    store = without_password(mlflow.get_tracking_uri())
    why = deleted_run(deleted) if deleted else f"its run is not in the tracking store {store}"
    log.warning("%s: %s; %s stands for it", folder, why, run_in_words(run))
    return run


def _run_of_shipped(root: Path) -> Run:
    folder, training = shipped(ExperimentStage2.shipped_part), shipped_training()
    sha256 = file_sha256(folder / WEIGHTS)
    if found := _run_with("stage2", SHIPPED, sha256):
        return found
    with new_run(root, family="stage2", name=SHIPPED, params=training["parameters"]) as made:
        licences = {f"{LICENCE}{digest}": licence for digest, licence in training["licences"].items()}
        made.set_tags({WEIGHTS_TAG: sha256, IMPORTED: SHIPPED, **licences})
        made.datasets([DataUsed(**each, context="training") for each in training["data"]])
        made.artifact(folder, RunLink.model)
    return find_run(made.run_id)


def _run_with(family: str, name: str, sha256: str) -> Run | None:
    """The latest finished run of that name, whatever follows its `@`, whose network has this checksum."""
    alike = f"tags.stage = '{family}' and tags.`{WEIGHTS_TAG}` = '{sha256}'"
    return next(iter(select_runs(last=1, filter=f"{alike} and attributes.run_name LIKE '{name}@%'")), None)
