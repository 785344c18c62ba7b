from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from quantart.components.lean_autoencoder import LeanBlock, LeanDecoder, LeanEncoder

SHAPE: dict[str, Any] = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "z_channels": 6, "resolution": 32}


@pytest.mark.parametrize(("patch", "ch_mult", "f"), [(2, [1, 2], 4), (4, [1], 4), (1, [1, 2, 2], 4), (2, [2, 3, 4], 8)])
@torch.no_grad()
def test_any_size_that_the_downsampling_divides_comes_back(patch: int, ch_mult: list[int], f: int) -> None:
    shape = SHAPE | {"patch": patch, "ch_mult": ch_mult}
    z = LeanEncoder(**shape)(torch.zeros(2, 3, 5 * f, 7 * f))
    assert z.shape == (2, 6, 5, 7)
    assert LeanDecoder(**shape)(z).shape == (2, 3, 5 * f, 7 * f)


def test_levels_have_the_blocks_of_the_reference_and_no_norm() -> None:
    shape = SHAPE | {"patch": 2, "num_res_blocks": 2}
    for network, blocks in ((LeanEncoder(**shape), 4), (LeanDecoder(**shape), 6)):
        kinds = [type(module) for module in network.modules()]
        assert kinds.count(LeanBlock) == blocks
        assert not {nn.GroupNorm, nn.MultiheadAttention} & set(kinds)


def test_a_new_block_hardly_changes_its_input() -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 16, 8, 8)
    apart = LeanBlock(16)(x) - x
    assert 0.0 < apart.std() < 0.02


@pytest.mark.parametrize("shape", [{"patch": 2}, {"patch": 1, "ch_mult": [1, 1, 1]}, {"patch": 4, "num_res_blocks": 2}])
def test_no_output_depends_on_anything_beyond_the_reach(shape: dict[str, Any]) -> None:
    torch.manual_seed(0)
    encoder, decoder = LeanEncoder(**SHAPE | shape), LeanDecoder(**SHAPE | shape)
    f, rows = int(decoder.scale), 40
    x = torch.zeros(1, 3, f * rows, f, requires_grad=True)
    encoder(x)[0, :, rows // 2].sum().backward()
    seen = x.grad.abs().sum((0, 1, 3)).nonzero().flatten() // f - rows // 2
    assert 1 <= seen.max() <= encoder.reach
    assert 1 <= -seen.min() <= encoder.reach
    z = torch.zeros(1, 6, rows, 1, requires_grad=True)
    decoder(z)[0, :, f * rows // 2 : f * (rows // 2 + 1)].sum().backward()
    seen = z.grad.abs().sum((0, 1, 3)).nonzero().flatten() - rows // 2
    assert 1 <= seen.max() <= decoder.reach
    assert 1 <= -seen.min() <= decoder.reach


def test_maps_stay_channels_last() -> None:
    shape = SHAPE | {"patch": 2}
    seen = []
    for network, x in (
        (LeanEncoder(**shape), torch.zeros(1, 3, 32, 32)),
        (LeanDecoder(**shape), torch.zeros(1, 6, 8, 8)),
    ):
        for module in network.body:
            module.register_forward_hook(
                lambda _, __, y: seen.append(y.is_contiguous(memory_format=torch.channels_last))
            )
        network(x)
    assert len(seen) == 3 + 6
    assert all(seen)
