from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest

from quantart.images.arrays import Picture
from quantart.models.fidelity import FidelityControl
from quantart.registry.versions import RegisteredVersion
from quantart.serving.package import log_and_register
from quantart.tracking.runs import stage_run

from ..models.networks import save_control, small_painters


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread: None) -> None:
    """In all tests of this room."""


@pytest.fixture(scope="session")
def registered(
    tmp_path_factory: pytest.TempPathFactory, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> Iterator[RegisteredVersion]:
    """The small networks, trained by a run of a store of its own and registered there."""
    project = tmp_path_factory.mktemp("project")
    networks = save_control(control, project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
        with stage_run(project, family="stage2", name="stage2_discrete", params={"train": {"steps": 3}}) as run:
            run.metrics({"train/total_loss": 1.0}, 3)
        yield log_and_register(
            networks,
            variant="discrete",
            run_id=run.run_id,
            name="quantart",
            example=pictures,
            card="# tiny",
            tags={"variant": "discrete", "upstream.stage1_style": "0123"},
        )


@pytest.fixture(scope="session")
def painters() -> FidelityControl:
    """Small lean networks, which graphs can paint with."""
    return small_painters()


@pytest.fixture(scope="session")
def lean(
    painters: FidelityControl,
    registered: RegisteredVersion,
    pictures: tuple[Picture, Picture],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The folder of a registered model of these."""
    project = tmp_path_factory.mktemp("lean")
    networks = save_control(painters, project)
    with stage_run(project, family="stage2", name="stage2_discrete", params={}) as run:
        pass
    options: dict[str, Any] = {"name": "lean", "example": pictures, "card": "", "tags": {}}
    version = log_and_register(networks, variant="discrete", run_id=run.run_id, **options)
    return Path(mlflow.artifacts.download_artifacts(version.uri))
