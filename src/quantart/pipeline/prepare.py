"""The stage `prepare`: one domain's pictures into `data/prepared/<domain>`."""

from __future__ import annotations

from quantart.data.prepare import PrepareReport, prepare_domain
from quantart.pipeline.code import check_ready
from quantart.project import Project
from quantart.vocabulary.names import Domain


def run(project: Project, domain: Domain, workers: int | None = None, ray: str | None = None) -> PrepareReport:
    """Prepare the pictures that `data.<domain>` of params.yaml names; see `write_shards` on `workers` and `ray`."""
    params = project.params()
    check_ready(project, "prepare")
    return prepare_domain(
        project.source(domain),
        project.prepared(domain),
        params.data,
        domain=domain,
        root=project.source_root(domain),
        workers=workers,
        ray=ray,
    )
