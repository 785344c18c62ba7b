"""The gradient that we wrote out ourselves, against autograd's in float32."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quantart.components import half_norm
from quantart.components.half_norm import HalfGroupNorm


def gradients(y: Tensor, inputs: list[Tensor], answer: Tensor) -> list[Tensor]:
    return [gradient.float() for gradient in torch.autograd.grad(y, inputs, answer.to(y.dtype))]


@pytest.mark.parametrize("part", [1, 100, 2**16], ids=["a row at a time", "the last part is shorter", "whole"])
@pytest.mark.parametrize("swish", [False, True])
@pytest.mark.parametrize(("channels", "groups", "size"), [(8, 1, (6, 5)), (64, 32, (4, 4)), (32, 32, (1, 3))])
def test_gradients_are_those_of_float32(
    channels: int, groups: int, size: tuple[int, int], swish: bool, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_norm, "PART", part)
    torch.manual_seed(0)
    x = (3.0 * torch.randn(2, channels, *size) + 1.0).bfloat16().requires_grad_()  # not channels last
    weight, bias = (torch.randn(channels, requires_grad=True) for _ in range(2))
    answer = torch.randn(x.shape).bfloat16()
    y = HalfGroupNorm.apply(x, weight, bias, groups, 1e-6, swish)

    wide = x.detach().float().requires_grad_()
    expected = F.group_norm(wide, groups, weight, bias, 1e-6)
    expected = F.silu(expected) if swish else expected
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), expected, rtol=2**-7, atol=2**-7)
    own, theirs = gradients(y, [x, weight, bias], answer), gradients(expected, [wide, weight, bias], answer.float())
    torch.testing.assert_close(own[0], theirs[0], rtol=2**-7, atol=1e-3)  # it is rounded to bfloat16
    for ours, others in zip(own[1:], theirs[1:], strict=True):
        torch.testing.assert_close(ours, others, rtol=1e-4, atol=1e-4)


def test_it_keeps_no_more_than_its_input_for_the_backward_pass() -> None:
    x = torch.randn(1, 32, 16, 16).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        HalfGroupNorm.apply(x, torch.ones(32), torch.zeros(32), 32, 1e-6, True)
    assert [t.data_ptr() for t in kept if t.numel() == x.numel()] == [x.data_ptr()]
