"""Runs the stage `pair`: fixes once which held-out pictures are measured together."""

from __future__ import annotations

from quantart.data.pairing import pair_domains
from quantart.pipeline.code import check_ready
from quantart.project import Project
from quantart.vocabulary.names import DOMAINS


def run(project: Project) -> None:
    """Write `data/pairs`."""
    params = project.params()
    check_ready(project, "pair")
    prepared = {domain: project.prepared(domain) for domain in DOMAINS}
    folder = project.pairs("test").parent
    pair_domains(folder, prepared, paired=params.data.paired, test_pairs=params.evaluate.pairs, seed=params.seed)
