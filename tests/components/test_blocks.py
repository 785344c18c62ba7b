from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from quantart.components import half_norm
from quantart.components.blocks import AttnBlock, Downsample, GroupNorm, ResnetBlock, Upsample


@pytest.mark.parametrize(("channels", "groups"), [(8, 1), (31, 1), (32, 32), (64, 32)])
def test_group_norm_has_32_groups_or_one(channels: int, groups: int) -> None:
    x = torch.randn(2, channels, 5, 5) * 3.0 + 1.0
    expected = F.group_norm(x, groups, eps=1e-6)
    assert torch.allclose(GroupNorm(channels)(x), expected, atol=1e-6)


@pytest.mark.parametrize("swish", [False, True])
def test_group_norm_keeps_half_precision_on_a_cpu_with_float32s_statistics(swish: bool) -> None:
    norm = GroupNorm(8)
    x = (torch.randn(2, 8, 64, 64) + 10.0).bfloat16()  # sums in bfloat16 would stand still after a few
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        y = norm(x, swish)
    assert y.dtype == torch.bfloat16
    with torch.no_grad():
        assert norm(x).dtype == torch.float32  # nobody asked for half precision: a large picture's map is held in it
    torch.testing.assert_close(y.float(), norm(x.float(), swish), rtol=2**-6, atol=2**-8)


@pytest.mark.parametrize(("least", "dtype"), [(2**10, torch.bfloat16), (2**10 + 1, torch.float32)])
def test_group_norm_of_a_small_map_with_a_gradient_is_float32s(
    least: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(half_norm, "LEAST", least)
    with torch.autocast("cpu", torch.bfloat16):
        assert GroupNorm(8)(torch.randn(2, 8, 8, 8).bfloat16()).dtype == dtype


def test_group_norm_with_swish_is_both_after_one_another() -> None:
    norm, x = GroupNorm(8), torch.randn(2, 8, 5, 5)
    expected, given = F.silu(norm(x)), x.clone()
    assert torch.equal(norm(x, swish=True), expected)
    with torch.no_grad():
        assert torch.equal(norm(x, swish=True), expected)
    assert torch.equal(x, given)


def test_resnet_block_changes_channels_through_its_shortcut() -> None:
    block = ResnetBlock(4, 6)
    for conv in (block.conv1, block.conv2):
        torch.nn.init.zeros_(conv.weight)
        torch.nn.init.zeros_(conv.bias)
    x = torch.randn(1, 4, 3, 3)
    assert torch.equal(block(x), block.nin_shortcut(x))
    assert not any(name.startswith("nin_shortcut") for name in ResnetBlock(4).state_dict())


def test_attention_is_softmax_over_the_context() -> None:
    block = AttnBlock(8, residual=False)
    x, context = torch.randn(2, 8, 3, 4), torch.randn(2, 8, 5, 2)
    q, k, v = block.q(block.norm(x)), block.k(block.norm(context)), block.v(block.norm(context))
    scores = torch.einsum("bchw,bcij->bhwij", q, k) * 8**-0.5
    weights = scores.flatten(3).softmax(-1).view_as(scores)
    expected = block.proj_out(torch.einsum("bhwij,bcij->bchw", weights, v))
    assert torch.allclose(block(x, context), expected, atol=1e-5)
    block.residual = True
    assert torch.allclose(block(x, context), x + expected, atol=1e-5)


def test_downsample_pads_right_and_below() -> None:
    down = Downsample(1)
    torch.nn.init.ones_(down.conv.weight)
    torch.nn.init.zeros_(down.conv.bias)
    y = down(torch.ones(1, 1, 4, 4))
    assert y.squeeze().tolist() == [[9.0, 6.0], [6.0, 4.0]]


def test_upsample_repeats_pixels() -> None:
    up = Upsample(1)
    torch.nn.init.dirac_(up.conv.weight)
    torch.nn.init.zeros_(up.conv.bias)
    y = up(torch.tensor([[[[1.0, 2.0]]]]))
    assert y.squeeze().tolist() == [[1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 2.0, 2.0]]


@pytest.mark.parametrize("side", [4, 20])  # weights written out, and not
def test_attention_in_half_precision_is_float32s_to_rounding(side: int) -> None:
    torch.manual_seed(0)
    block = AttnBlock(16, residual=False)
    x, context = torch.randn(2, 16, side, side), torch.randn(2, 16, side, side)
    exact = torch.autograd.grad(block(x, context).square().sum(), tuple(block.parameters()))
    with torch.autocast("cpu", torch.bfloat16):
        half = block(x, context)
        gradients = torch.autograd.grad(half.float().square().sum(), tuple(block.parameters()))
    assert torch.allclose(half.float(), block(x, context), atol=0.02 * float(block(x, context).abs().max()))
    for ours, theirs in zip(gradients, exact, strict=True):
        assert (ours - theirs).norm() <= 0.05 * max(float(theirs.norm()), 1.0)
