from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from quantart.losses.painting import PaintingLoss
from quantart.vocabulary.painting import PAINTING_WEIGHTS

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture(scope="module")
def loss() -> PaintingLoss:
    return PaintingLoss(PAINTING_WEIGHTS | {"colour_weight": 2.0, "spectrum_weight": 5.0, "content_weight": 3.0})


def picture(domain: str, place: int) -> torch.Tensor:
    file = sorted((SAMPLE / domain).glob("*.jpg"))[place]
    pixels = np.array(Image.open(file).convert("RGB").resize((128, 128)))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


def test_the_total_is_the_weighted_sum(loss: PaintingLoss) -> None:
    x, y = picture("photos", 0), picture("paintings", 0)
    total, logs = loss((x + y) / 2, loss.scene(x), loss.hand(y))
    weights = {"texture_loss": 10, "coarse_texture_loss": 8, "moments_loss": 4, "colour_loss": 2}
    weights |= {"spectrum_loss": 5, "content_loss": 3}
    assert logs.keys() == weights.keys()
    assert total.item() == pytest.approx(sum(weights[name] * value.item() for name, value in logs.items()), rel=1e-5)


def test_a_painting_has_its_own_hand_and_a_photograph_its_own_scene(loss: PaintingLoss) -> None:
    x, y = picture("photos", 1), picture("paintings", 1)
    _, logs = loss(y, loss.scene(x), loss.hand(y))
    assert max(logs[n].item() for n in logs if n != "content_loss") < 1e-5 < logs["content_loss"].item()
    _, logs = loss(x, loss.scene(x), loss.hand(y))
    assert logs["content_loss"].item() < 1e-5 < min(logs[n].item() for n in logs if n != "content_loss")


def test_a_tint_pleases_the_colours_and_not_the_texture(loss: PaintingLoss) -> None:
    x, y = picture("photos", 2), picture("paintings", 2)
    tinted = (x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)
    tinted = (tinted * y.std((2, 3), keepdim=True) + y.mean((2, 3), keepdim=True)).clamp(-1, 1)
    _, plain = loss(x, loss.scene(x), loss.hand(y))
    _, logs = loss(tinted, loss.scene(x), loss.hand(y))
    assert logs["colour_loss"] < 0.5 * plain["colour_loss"]
    assert logs["texture_loss"] > 0.8 * plain["texture_loss"]


def test_its_gradient_leads_to_the_painting(loss: PaintingLoss) -> None:
    x, y = picture("photos", 3), picture("paintings", 3)
    scene, hand = loss.scene(x), loss.hand(y)
    output = x.clone().requires_grad_()
    before, _ = loss(output, scene, hand)
    before.backward()
    assert output.grad is not None
    assert output.grad.isfinite().all()
    after, _ = loss(x - output.grad / output.grad.norm(), scene, hand)
    assert after < before


def test_half_precision_of_the_decoder_does_not_reach_the_distances(loss: PaintingLoss) -> None:
    x, y = picture("photos", 4).bfloat16().float(), picture("paintings", 4)
    scene, hand = loss.scene(x), loss.hand(y)
    exact, _ = loss(x, scene, hand)
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(x.bfloat16(), loss.scene(x), loss.hand(y))[0].item() == exact.item()
