from __future__ import annotations

import pytest
import torch
from torch import nn

from quantart.components.twin_transfer import TwinTransferModule
from quantart.training.muon import MOMENTUM, Muon, inner_weights, orthogonalised

from ..models.networks import LEAN, small_stage_1, small_stage_2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("shape", [(16, 16), (16, 72), (72, 16)])
def test_singular_values_come_near_one_and_the_directions_stay(shape: tuple[int, int], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, *shape) * torch.tensor([1e-3, 1.0, 1e3])[:, None, None]
    turned = orthogonalised(matrices, dtype)
    assert turned.shape == matrices.shape
    assert turned.dtype == torch.float32
    values = torch.linalg.svdvals(turned)
    assert values.min() > 0.5
    assert values.max() < 1.3
    u, _, v = torch.linalg.svd(matrices, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(turned.flatten(1), (u @ v).flatten(1)).min() > 0.95


@pytest.mark.parametrize(("asked", "dtype"), [("no", torch.float32), ("bf16", torch.bfloat16)])
def test_products_have_the_precision_of_the_training(
    asked: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.zeros(8, 4, 3, 3))
    weight.grad = torch.randn(8, 4, 3, 3)
    direction = weight.grad.lerp((1.0 - MOMENTUM) * weight.grad, MOMENTUM).flatten(1)[None]
    Muon([{"params": [weight], "lr": -1.0}]).step()
    torch.testing.assert_close(weight.detach().flatten(1), orthogonalised(direction, dtype)[0], rtol=0, atol=1e-6)
    other = {torch.float32: torch.bfloat16, torch.bfloat16: torch.float32}[dtype]
    assert (weight.detach().flatten(1) - orthogonalised(direction, other)[0]).abs().max() > 1e-4


def test_weights_of_one_shape_move_as_each_alone() -> None:
    torch.manual_seed(0)
    shapes = [(8, 4, 3, 3), (6, 4, 3, 3), (8, 4, 3, 3), (8, 4, 1, 1)]
    weights = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    alone, start = ([torch.nn.Parameter(weight.detach().clone()) for weight in weights] for _ in range(2))
    together = Muon([{"params": weights, "lr": 0.1}])
    each = [Muon([{"params": [weight], "lr": 0.1}]) for weight in alone]
    for _ in range(3):
        for one, other in zip(weights, alone, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        together.step()
        for muon in each:
            muon.step()
    for one, other, before in zip(weights, alone, start, strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), rtol=0, atol=2e-2)  # bfloat16's rounding
        assert (one - before).abs().max() > 0.1


def test_a_step_has_the_size_of_the_learning_rate_however_large_the_gradient() -> None:
    for scale in (1e-3, 1e3):
        torch.manual_seed(0)
        weight = torch.nn.Parameter(torch.zeros(32, 8, 3, 3).contiguous(memory_format=torch.channels_last))
        weight.grad = scale * torch.randn(32, 8, 3, 3)
        muon = Muon([{"params": [weight]}])
        muon.param_groups[0]["lr"] = 0.1
        muon.step()
        values = torch.linalg.svdvals(weight.detach().flatten(1))
        assert values.min() > 0.05
        assert values.max() < 0.13
        # downhill
        assert (weight.detach() * weight.grad).sum() < 0


def test_a_tall_matrix_moves_further_and_weights_decay() -> None:
    tall, frozen = torch.nn.Parameter(torch.ones(64, 4, 2, 2)), torch.nn.Parameter(torch.ones(4, 4, 1, 1))
    tall.grad = torch.zeros(64, 4, 2, 2)
    muon = Muon([{"params": [tall, frozen], "lr": 0.1}], weight_decay=0.5)
    muon.step()
    torch.testing.assert_close(tall.detach(), torch.full((64, 4, 2, 2), 0.95))
    assert torch.equal(frozen.detach(), torch.ones(4, 4, 1, 1))  # without a gradient
    tall.grad = torch.randn(64, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    before = tall.detach().clone()
    muon.step()
    moved = torch.linalg.svdvals((tall.detach() - 0.95 * before).flatten(1))
    assert 0.1 * 2 * 0.5 < moved.min() < moved.max() < 0.1 * 2 * 1.3  # √(64 / 16) times as far


def test_inner_weights_are_those_between_pictures_latents_and_codes() -> None:
    model = small_stage_1(ddconfig=LEAN)
    inner = inner_weights(model)
    named = {id(weight): name for name, weight in model.named_parameters()}
    names = {named[id(weight)] for weight in inner}
    assert "encoder.body.0.conv1.weight" in names
    assert "decoder.body.2.weight" in names  # between two levels
    assert not [n for n in names if "conv_in" in n or "conv_out" in n or "quant" in n]
    assert len(names) == 1 + 2 * 2 + 1 + 2 * 4
    transfer = small_stage_2().requires_grad_(False)
    transfer.model_x2y.requires_grad_(True)
    assert {id(w) for w in inner_weights(transfer)} <= {id(w) for w in transfer.model_x2y.parameters()}
    assert inner_weights(transfer)


def test_gains_noise_and_shares_of_the_twin_network_are_no_convolutions() -> None:
    network = TwinTransferModule(6, width=8, coarse_blocks=2, fine_blocks=1)
    inner = {id(weight) for weight in inner_weights(network)}
    convolutions = {name: each for name, each in network.named_modules() if isinstance(each, nn.Conv2d)}
    expected = {id(each.weight) for name, each in convolutions.items() if name not in {"conv_in", "conv_out"}}
    assert inner == expected
    assert id(network.norm_down.weight) not in inner
