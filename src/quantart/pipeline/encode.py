"""Runs the stage `encode`: one domain's pictures through its frozen encoder."""

from __future__ import annotations

import logging

from accelerate import PartialState

from quantart.data.encoding import encode_domain
from quantart.machine.device import default_device
from quantart.pipeline.code import check_ready
from quantart.project import Project
from quantart.training.machines import check_shared
from quantart.vocabulary.names import Domain

log = logging.getLogger(__name__)


def run(project: Project, domain: Domain) -> None:
    """Write `data/codes/<domain>`."""
    params = project.params()
    check_ready(project, "encode")
    state = PartialState(cpu=default_device().type == "cpu")
    check_shared(project.root, "encode")
    if params.stage2.objective == "painting" and state.is_main_process:
        log.info(f"{project.codes(domain)}: nothing to encode; stage2.objective painting trains on the pictures")
    encode_domain(
        params, project.stage1_model(domain), project.prepared(domain), project.codes(domain), name=domain, state=state
    )
