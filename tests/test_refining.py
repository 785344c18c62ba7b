"""Latents optimised for one pair, by a small network that nobody trained."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor

from quantart import refining
from quantart.evaluation.texture import texture_distance, texture_of
from quantart.images.arrays import Picture, resize, to_tensor
from quantart.losses.painting import PaintingLoss
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_2 import ExperimentStage2
from quantart.refining import refine
from quantart.vocabulary.names import VARIANTS
from quantart.vocabulary.painting import PAINTING_WEIGHTS


@pytest.fixture(autouse=True)
def _float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")


@pytest.fixture(scope="module")
def pair(pictures: tuple[Picture, Picture]) -> list[Tensor]:
    return [to_tensor(resize(picture, 64, 64)) for picture in pictures]


@pytest.fixture(params=VARIANTS)
def model(request: pytest.FixtureRequest, control: FidelityControl) -> ExperimentStage2:
    found = control.get_submodule(request.param)
    assert isinstance(found, ExperimentStage2)
    return found


@torch.no_grad()
def answer(model: ExperimentStage2, pair: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The network's, before quantisation and after."""
    found = model.transfer(model.content_latents(pair[0]), model.style_latents(pair[1]))
    return found.unquantised, found.z


@torch.no_grad()
def judged(model: ExperimentStage2, z: Tensor, pair: list[Tensor]) -> tuple[float, float]:
    """The loss of the decoded latents, and the texture distance to the painting."""
    loss, picture = PaintingLoss(PAINTING_WEIGHTS), model.decode(z)
    total, _ = loss(picture, loss.scene(pair[0]), loss.hand(pair[1]))
    ours, painting = (texture_of(loss.network, each) for each in (picture.clamp(-1, 1), pair[1]))
    return float(total), float(texture_distance(ours, painting))


def test_it_lowers_the_loss_and_the_distance_to_the_paintings_texture(
    model: ExperimentStage2, pair: list[Tensor]
) -> None:
    start, z = answer(model, pair)
    before, texture_before = judged(model, z, pair)
    after, texture_after = judged(model, refine(model, start, *pair, 24), pair)
    assert after < 0.96 * before
    assert texture_after < texture_before
    assert all(parameter.grad is None for parameter in model.parameters())


def test_answers_are_codes_and_always_the_same(network: ExperimentStage2, pair: list[Tensor]) -> None:
    start, z = answer(network, pair)
    with torch.inference_mode():  # as the callers do
        found = refine(network, start, *pair, 3)
    assert torch.equal(found, network.quantize_dec.lookup(network.quantize_dec.nearest(found)))
    assert not torch.equal(found, z)
    assert torch.equal(found, refine(network, start, *pair, 3))


def test_it_stops_when_told_with_the_best_so_far(model: ExperimentStage2, pair: list[Tensor]) -> None:
    start, z = answer(model, pair)
    torch.testing.assert_close(refine(model, start, *pair, 5, lambda: False), z)
    asked = iter([True, True, False])
    stopped = refine(model, start, *pair, 5, lambda: next(asked))
    assert torch.equal(stopped, refine(model, start, *pair, 2))


class LossesInOrder:
    """Gives one value after the other, whatever the picture is, and a gradient towards dark ones."""

    def __init__(self, *values: float) -> None:
        self.values = iter(values)

    def scene(self, pictures: Tensor) -> None: ...

    def hand(self, pictures: Tensor) -> None: ...

    def __call__(self, picture: Tensor, scene: None, hand: None) -> tuple[Tensor, None]:
        mean = picture.float().mean()
        return mean - mean.detach() + next(self.values), None


def test_steps_that_make_it_worse_are_not_taken(
    model: ExperimentStage2, pair: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    start, _ = answer(model, pair)

    def found(*values: float) -> Tensor:
        monkeypatch.setattr(refining, "_loss", lambda *_: LossesInOrder(*values))
        return refine(model, start, *pair, len(values) - 1)

    best = found(5.0, 3.0)
    assert torch.equal(found(5.0, 3.0, 4.0, 9.0), best)
    assert not torch.equal(found(5.0, 3.0, 2.0), best)
    assert torch.equal(found(5.0, 6.0, float("nan")), found(5.0))


def test_the_losses_weigh_what_they_did_in_the_models_training(model: ExperimentStage2, pair: list[Tensor]) -> None:
    start, _ = answer(model, pair)

    def refined_for(weight: str) -> dict[str, Tensor]:
        other = deepcopy(model)
        other.config["painting_weights"] = dict.fromkeys(PAINTING_WEIGHTS, 0.0) | {weight: 1.0}
        loss, picture = PaintingLoss(PAINTING_WEIGHTS), model.decode(refine(other, start, *pair, 8)).detach()
        return loss(picture, loss.scene(pair[0]), loss.hand(pair[1]))[1]

    texture, content = refined_for("texture_weight"), refined_for("content_weight")
    assert texture["texture_loss"] < content["texture_loss"]
    assert content["content_loss"] < texture["content_loss"]
