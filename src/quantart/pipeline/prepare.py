"""The stage `prepare`: one domain's pictures into `data/prepared/<domain>`."""

from __future__ import annotations

from quantart.data.prepare import PrepareReport, prepare_domain
from quantart.pipeline.code import begin
from quantart.project import Project
from quantart.vocabulary.names import Domain


def run(project: Project, domain: Domain, workers: int | None = None) -> PrepareReport:
    """Prepare the pictures that `data.<domain>` names in the project's `params.yaml`.

    Args:
        workers: processes; None: one per core.

    Raises:
        UserError: wrong parameters, no picture, or too many that can't be used.
    """
    params = begin(project, "prepare")
    return prepare_domain(
        project.source(domain),
        project.prepared(domain),
        params.data,
        domain=domain,
        root=project.source_root(domain),
        workers=workers,
    )
