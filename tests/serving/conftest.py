from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from quantart.images import Picture, read_image
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.registry.registered import RegisteredModel
from quantart.serving.package import log_and_register
from quantart.tracking.session import stage_run
from quantart.vocabulary.names import VARIANTS, Variant

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


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As many as the servers of `running` have: with another number sums are rounded in another order, and a near tie
    between two codes may fall to the other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def network() -> ExperimentStage2:
    torch.manual_seed(0)
    vqgans = [ExperimentStage1(TINY, n_embed=16, embed_dim=8) for _ in range(2)]
    for vqgan in vqgans:  # codes as far apart as the latents are
        torch.nn.init.normal_(vqgan.quantize.embedding.weight, std=0.3)
    return ExperimentStage2.from_stage1(*vqgans, block_num=1).eval()


@pytest.fixture(scope="session")
def control(network: ExperimentStage2) -> FidelityControl:
    """The network and a continuous one with the same encoders and another decoder."""
    torch.manual_seed(1)
    continuous = ExperimentStage2(TINY, n_embed=16, embed_dim=8, block_num=1, variant="continuous").eval()
    for part in ("encoder", "quant_conv", "encoder_real", "quant_conv_real"):
        continuous.get_submodule(part).load_state_dict(network.get_submodule(part).state_dict())
    return FidelityControl(network, continuous)


@pytest.fixture(scope="session")
def pictures() -> tuple[Picture, Picture]:
    """A photograph and a painting of the sample."""
    files = [sorted((SAMPLE / domain).glob("*.jpg"))[0] for domain in ("photos", "paintings")]
    photo, painting = (read_image(file, max_pixels=10**8) for file in files)
    return photo, painting


def save(control: FidelityControl, folder: Path) -> dict[Variant, Path]:
    """Both networks' folders."""
    for model in (control.discrete, control.continuous):
        assert model is not None
        model.save_pretrained(folder / model.variant)
    return {variant: folder / variant for variant in VARIANTS}


@pytest.fixture
def noise() -> Picture:
    return np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def registered(
    tmp_path_factory: pytest.TempPathFactory, control: FidelityControl, pictures: tuple[Picture, Picture]
) -> Iterator[RegisteredModel]:
    """The tiny networks, trained by a run of a store of its own and registered there."""
    project = tmp_path_factory.mktemp("project")
    networks = save(control, project)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
        with stage_run(project, stage="stage2", name="stage2_discrete", params={"train": {"steps": 3}}) as run:
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
