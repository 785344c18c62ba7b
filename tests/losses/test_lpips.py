from __future__ import annotations

from pathlib import Path

import lpips
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from PIL import Image
from torch import Tensor

from quantart.errors import UserError
from quantart.losses import lpips as ours
from quantart.losses import weights
from quantart.losses.backbones import architecture
from quantart.losses.lpips import LPIPS

PHOTOS = sorted((Path(__file__).parents[2] / "data" / "sample" / "photos").glob("*.jpg"))


@pytest.fixture(scope="module")
def squeezenet() -> LPIPS:
    return LPIPS("squeezenet1_1")


def photo(index: int, side: int = 96) -> Tensor:
    pixels = np.asarray(Image.open(PHOTOS[index]).convert("RGB").resize((side, side)), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1).unsqueeze(0) / 127.5 - 1.0


def test_distance_orders_changes_of_a_photograph(squeezenet: LPIPS) -> None:
    x = photo(0)
    blurred = F.avg_pool2d(x, 3, stride=1, padding=1)
    more_blurred = F.avg_pool2d(x, 9, stride=1, padding=4)
    with torch.no_grad():
        same, slight, strong, other = (squeezenet(x, y).item() for y in (x, blurred, more_blurred, photo(1)))
    assert same == 0.0
    assert 0.0 < slight < strong < other


def test_a_distance_per_picture_and_gradients_for_the_second(squeezenet: LPIPS) -> None:
    x = torch.cat([photo(0), photo(1)])
    y = torch.cat([photo(2), photo(1)]).requires_grad_()
    distance = squeezenet(x, y)
    assert distance.shape == (2,)
    assert distance[1].item() == 0.0
    distance.sum().backward()
    assert y.grad[0].abs().sum() > 0.0
    assert not any(p.requires_grad for p in squeezenet.parameters())


def test_uncalibrated_distance_equals_the_lpips_packages(squeezenet: LPIPS) -> None:
    theirs = lpips.LPIPS(net="squeeze", lpips=False, pnet_rand=True, verbose=False)
    layers = [m for m in theirs.net.modules() if isinstance(m, torch.nn.Conv2d)]
    ours_layers = [m for m in squeezenet.layers.modules() if isinstance(m, torch.nn.Conv2d)]
    for target, source in zip(layers, ours_layers, strict=True):
        target.load_state_dict(source.state_dict())
    with torch.no_grad():
        assert torch.allclose(squeezenet(photo(0), photo(1)), theirs(photo(0), photo(1)).flatten(), rtol=2e-3)


def test_calibrated_distance_equals_the_lpips_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    # AlexNet's ImageNet weights need a download; the arithmetic is the same on any weights
    torch.manual_seed(0)
    alexnet = torchvision.models.alexnet(weights=None)
    monkeypatch.setattr(weights, "backbone_weights", lambda network: alexnet.state_dict())
    backbone = alexnet.features
    theirs = lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)
    layers = [m for m in theirs.net.modules() if isinstance(m, torch.nn.Conv2d)]
    for target, source in zip(layers, (m for m in backbone if isinstance(m, torch.nn.Conv2d)), strict=True):
        target.load_state_dict(source.state_dict())
    with torch.no_grad():
        assert torch.allclose(LPIPS("alexnet")(photo(0), photo(1)), theirs(photo(0), photo(1)).flatten(), rtol=2e-3)


def test_channels_are_weighted_only_where_the_weights_are_torchvisions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "alexnet.pth"
    # stands for all values: the file is small
    torch.save({k: torch.zeros(()).expand(v.shape) for k, v in architecture("alexnet").state_dict().items()}, file)
    assert LPIPS("alexnet", file).metric == "perceptual_alexnet"
    monkeypatch.setattr(ours, "is_torchvisions", lambda network, file: True)
    assert LPIPS("alexnet", file).metric == "lpips_alexnet"


def test_efficientnet_is_an_unweighted_distance_on_five_scales() -> None:
    network = LPIPS("efficientnet_lite0")
    assert network.metric == "perceptual_efficientnet_lite0"
    x, y = photo(0), photo(1).requires_grad_()
    targets = network.features(x)
    assert [tuple(layer.shape[1:]) for layer in targets] == [
        (16, 48, 48),
        (24, 24, 24),
        (40, 12, 12),
        (112, 6, 6),
        (320, 3, 3),
    ]
    with torch.no_grad():
        outputs = network.features(y)
        unit = [[f.double() / f.double().norm(dim=1, keepdim=True) for f in both] for both in (targets, outputs)]
        expected = sum((a - b).square().sum(1).mean() for a, b in zip(*unit, strict=True))
        assert network(x, x).item() == 0.0
    distance = network(x, y)
    assert distance.item() == pytest.approx(expected.item(), rel=1e-5)
    distance.sum().backward()
    assert y.grad.abs().sum() > 0.0


def test_an_unknown_perceptual_network_is_named() -> None:
    with pytest.raises(UserError, match="inception_v3.*squeezenet1_1, efficientnet_lite0, alexnet, vgg16"):
        LPIPS("inception_v3")  # type: ignore[arg-type]


def test_it_stays_in_eval_mode(squeezenet: LPIPS) -> None:
    assert not torch.nn.ModuleList([squeezenet]).train()[0].training
