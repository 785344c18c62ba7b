"""What all tests share."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from quantart.images.arrays import Picture
    from quantart.models.fidelity import FidelityControl
    from quantart.models.stage_2 import ExperimentStage2

SAMPLE = Path(__file__).parents[1] / "data" / "sample"


def pytest_addoption(parser: pytest.Parser) -> None:
    # pytest takes options from the topmost conftest.py alone; tests/parity uses it
    parser.addoption("--golden", metavar="DIR", help="folder of golden numbers ($QUANTART_GOLDEN, ../shared/golden)")


@pytest.fixture(autouse=True)
def own_path() -> Iterator[None]:
    """MLflow puts the code of a model that it loads first on the path, where other processes would find it."""
    path = sys.path.copy()
    yield
    sys.path[:] = path


# Networks and pictures for stylising and serving; imported when they are asked for, since torch takes seconds.


@pytest.fixture(scope="session")
def network() -> ExperimentStage2:
    """A small discrete network."""
    from .models.networks import small_stage_2

    return small_stage_2()


@pytest.fixture(scope="session")
def control(network: ExperimentStage2) -> FidelityControl:
    """The same, and a continuous one."""
    from .models.networks import small_control

    return small_control(network)


@pytest.fixture(scope="session")
def pictures() -> tuple[Picture, Picture]:
    """A photograph and a painting of the sample, short side 256, at most 3 : 2."""
    from quantart.images.arrays import crop_to_aspect, resize_short_side
    from quantart.images.decode import read_image

    photo, painting = (sorted((SAMPLE / domain).glob("*.jpg"))[0] for domain in ("photos", "paintings"))
    read = (crop_to_aspect(read_image(file, max_pixels=10**8), 1.5) for file in (photo, painting))
    content, style = (resize_short_side(picture, 256) for picture in read)
    return content, style


@pytest.fixture
def noise() -> Picture:
    """48 × 40 random pixels."""
    import numpy as np

    return np.random.default_rng(0).integers(0, 256, (48, 40, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """As many as the servers of the tests have: another number rounds sums in another order, and a near tie between two
    codes may then fall to the other one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(before)


SLOW = (
    *("cli/test_registry", "doctor/test_checks", "doctor/test_store", "registry/", "tracking/"),  # MLflow's real store
    *("evaluation/test_evaluate", "evaluation/test_magenta", "evaluation/test_texture", "test_refining"),
    *("faults/", "images/test_fuzz", "parity/test_other_sizes", "parity/test_training"),
    *("pages/test_demo", "pages/test_vote", "pipeline/", "serving/"),
    *("stylize/test_graph_painter", "stylize/test_show", "stylize/test_stylizer"),
    *("test_benchmarks", "test_end_to_end", "test_pipeline_deps", "test_wheel"),
    *("training/test_distributed", "training/test_launch", "training/test_loop", "training/test_reference_objective"),
)
"""Parts of the suite that take more than a few seconds: `make test-quick` leaves them out."""


def is_slow(path: Path) -> bool:
    return path.relative_to(Path(__file__).parent).as_posix().startswith(SLOW)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """`-m "… not slow"` doesn't import the slow parts either, with MLflow, DVC and a server."""
    return True if "not slow" in config.option.markexpr and is_slow(collection_path) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if is_slow(item.path):
            item.add_marker(pytest.mark.slow)
