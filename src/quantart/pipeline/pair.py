"""Runs the stage `pair`: fixes once which held-out pictures are measured together."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from quantart.data.pairing import pair_domains
from quantart.pipeline.code import begin
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS

if TYPE_CHECKING:
    from quantart.tracking.runs import TrackedRun


def run(project: Project) -> None:
    """Write `data/pairs`."""
    params = begin(project, "pair")
    prepared = {domain: project.prepared(domain) for domain in DOMAINS}
    folder = project.pairs("test").parent
    pair_domains(folder, prepared, paired=params.data.paired, test_pairs=params.evaluate.pairs, seed=params.seed)


def log_pairs(run: TrackedRun, path: Path) -> None:
    """Keep a file of pairs with a run: as the artifact `pairs/<split>.csv`, its sha256 as the tag `pairs.<split>`."""
    run.artifact(path, "pairs")
    run.set_tags({f"pairs.{path.stem}": hashlib.sha256(path.read_bytes()).hexdigest()})
