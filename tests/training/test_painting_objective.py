from __future__ import annotations

import pytest
import torch

from quantart.data.batches import PairBatch
from quantart.losses.painting import PaintingLoss
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.painting_objective import PaintingObjective
from quantart.vocabulary.painting import PAINTING_WEIGHTS

from ..models.networks import small_stage_1

NETWORK = {"transfer_network": "twin", "width": 8, "coarse_blocks": 2, "fine_blocks": 1}


def make_objective(variant: str = "discrete", quantize_from: int = 2) -> PaintingObjective:
    vqgans = small_stage_1(1), small_stage_1(2)
    model = ExperimentStage2.from_stage1(*vqgans, variant=variant, **NETWORK)
    loss = PaintingLoss(dict.fromkeys(PAINTING_WEIGHTS, 1.0) | {"codebook_weight": 3.0})
    model.model_x2y.deviation.fill_(0.5)
    return PaintingObjective(model, loss, quantize_from=quantize_from).train()


def batch() -> PairBatch:
    generator = torch.Generator().manual_seed(0)
    return PairBatch(*(torch.rand(2, 3, 64, 64, generator=generator) * 2 - 1 for _ in range(2)))


@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_only_the_style_transfer_network_is_trained(variant: str) -> None:
    objective = make_objective(variant)
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    optimizer = torch.optim.SGD(objective.trained_parameters(), 0.1)
    objective(batch(), 0).loss.backward()
    optimizer.step()
    changed = {name for name, value in objective.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("model_x2y.") for name in changed)


@pytest.mark.parametrize(("step", "quantized"), [(1, False), (2, True)])
def test_the_discrete_variant_shows_codes_from_its_step_on(step: int, quantized: bool) -> None:
    objective = make_objective().eval()
    logs = objective(batch(), step).logs
    model, pair = objective.model, batch()
    with torch.no_grad():
        latents = model.content_latents(pair.content), model.style_latents(pair.style)
        transferred = model.transfer(*latents, quantize=quantized)
        loss = objective.loss
        _, expected = loss(model.decode(transferred.z), loss.scene(pair.content), loss.hand(pair.style))
        codes = model.quantize_dec(transferred.unquantised).z_q
    assert logs["texture_loss"].item() == pytest.approx(expected["texture_loss"].item(), rel=1e-4)
    distance = ((transferred.unquantised - codes) / 0.5).square().mean().item()
    assert logs["codebook_loss"].item() == pytest.approx(distance, rel=1e-4)
    parts = sum(expected[name].item() for name in expected)
    assert logs["total_loss"].item() == pytest.approx(parts + 3.0 * distance, rel=1e-4)
    assert 0.0 < logs["usage"].item() <= 1.0


def test_the_gradient_passes_through_the_codes() -> None:
    objective = make_objective(quantize_from=0)
    objective(batch(), 0).loss.backward()
    assert all(p.grad is not None for p in objective.trained_parameters())
    assert objective.model.model_x2y.conv_out.weight.grad.abs().sum() > 0


def test_the_continuous_variant_has_no_codes() -> None:
    logs = make_objective("continuous", quantize_from=0)(batch(), 0).logs
    assert not {"usage", "codebook_loss"} & logs.keys()
