from pathlib import Path

import pytest
import torch

from quantart.data.pairing import held_out_pairs
from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.evaluation.networks import FeatureNetwork
from quantart.evaluation.observed import Perception
from quantart.evaluation.task import TransferTask
from quantart.losses.lpips import LPIPS
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params.data import DataParams
from quantart.vocabulary.names import DOMAINS, Domain, Variant

from ..models.networks import PAINTER, spread

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[Domain, PackedPictures]:
    """A few real pictures of each domain, 36 pixels high or wide."""
    folder = tmp_path_factory.mktemp("prepared")
    params = DataParams(
        content=str(SAMPLE / "photos"),
        style=str(SAMPLE / "paintings"),
        resolution=32,
        short_side=36,
        val_share=0.0,
        test_share=0.1,
    )
    for domain in DOMAINS:
        prepare_domain(Path(params.folder(domain)), folder / domain, params, domain=domain, workers=1)
    return {domain: PackedPictures(folder / domain, "test") for domain in DOMAINS}


@pytest.fixture(scope="session")
def lpips() -> LPIPS:
    return LPIPS("squeezenet1_1")


@pytest.fixture(scope="session")
def perception(lpips: LPIPS) -> Perception:
    return Perception(lpips, FeatureNetwork("squeezenet1_1"), [lpips])


@pytest.fixture(scope="session")
def task(pictures: dict[Domain, PackedPictures]) -> TransferTask:
    """Ten pairs."""
    contents, styles = pictures["content"], pictures["style"]
    return TransferTask(contents, styles, held_out_pairs(len(contents), len(styles), 10, seed=0), 32)


@pytest.fixture
def vqgan() -> ExperimentStage1:
    torch.manual_seed(0)
    return spread(ExperimentStage1(PAINTER, n_embed=16, embed_dim=8)).eval()


@pytest.fixture(params=["discrete", "continuous"])
def variant(request: pytest.FixtureRequest) -> Variant:
    return request.param


@pytest.fixture
def model(variant: Variant) -> ExperimentStage2:
    torch.manual_seed(0)
    content, style = (spread(ExperimentStage1(PAINTER, n_embed=16, embed_dim=8)) for _ in DOMAINS)
    return ExperimentStage2.from_stage1(content, style, variant=variant, block_num=1).eval()
