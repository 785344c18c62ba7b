from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from quantart.images import Picture, read_image
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.package import RegisteredModel, log_and_register
from quantart.tracking.runs import stage_run

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
TINY = {
    "double_z": False,
    "z_channels": 8,
    "resolution": 32,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 8,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


@pytest.fixture(scope="session")
def network() -> ExperimentStage2:
    torch.manual_seed(0)
    return ExperimentStage2(TINY, n_embed=16, embed_dim=8, block_num=1).eval()


@pytest.fixture(scope="session")
def pictures() -> tuple[Picture, Picture]:
    """A photograph and a painting of the sample."""
    files = [sorted((SAMPLE / domain).glob("*.jpg"))[0] for domain in ("photos", "paintings")]
    photo, painting = (read_image(file, max_pixels=10**8) for file in files)
    return photo, painting


@pytest.fixture
def noise() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def registered(
    tmp_path_factory: pytest.TempPathFactory, network: ExperimentStage2, pictures: tuple[Picture, Picture]
) -> Iterator[RegisteredModel]:
    """The tiny network, trained by a run of a store of its own and registered there."""
    project = tmp_path_factory.mktemp("project")
    network.save_pretrained(project / "network")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
        with stage_run(project, stage="stage2", name="stage2_discrete", params={"train": {"steps": 3}}) as run:
            run.metrics({"train/total_loss": 1.0}, 3)
        yield log_and_register(
            project / "network",
            run_id=run.run_id,
            name="quantart",
            example=pictures,
            description="tiny",
            tags={"variant": "discrete", "upstream.stage1_style": "0123"},
        )
