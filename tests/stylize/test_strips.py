"""Large pictures are worked through in strips, and nothing but the memory tells."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.autoencoder import Decoder, Encoder
from quantart.components.blocks import AttnBlock, ResnetBlock
from quantart.components.lean_autoencoder import LeanDecoder, LeanEncoder
from quantart.stylize import strips

SHAPE: dict[str, Any] = {
    "ch": 32,  # 32 groups; 8 channels: one group
    "ch_mult": [1, 2, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [8],
    "resolution": 32,
    "z_channels": 6,
}


Networks = tuple[Encoder, Decoder]


@pytest.fixture(params=[32, 8], ids=lambda ch: f"{ch} channels")
def plain(request: pytest.FixtureRequest) -> Networks:
    torch.manual_seed(0)
    shape = SHAPE | {"ch": request.param}
    networks = Encoder(**shape).eval(), Decoder(**shape).eval()
    for network in networks:
        for norm in network.modules():
            if isinstance(norm, nn.GroupNorm):
                nn.init.normal_(norm.weight, mean=1.0, std=0.3)
                nn.init.normal_(norm.bias, std=0.3)
    return networks


@pytest.fixture
def frugal(plain: Networks) -> Networks:
    """The same networks, made to save memory."""
    networks = deepcopy(plain)
    for network in networks:
        strips.allow_large_pictures(network)
    return networks


@pytest.fixture
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits at which pictures of these tests count as large, and come in strips of a few rows."""
    monkeypatch.setattr(strips, "PLAIN", 500)
    monkeypatch.setattr(strips, "STRIP", 2 * 32 * 44 * 6)


def picture(height: int = 52, width: int = 44) -> Tensor:
    # a gradient from top to bottom: each strip by itself would have another mean
    ramp = torch.linspace(-1.0, 1.0, height)[:, None]
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 0.2 + ramp


@pytest.fixture
def whole(plain: Networks) -> tuple[Tensor, Tensor]:
    """The outputs of both without strips."""
    with torch.inference_mode():
        z = plain[0](picture())
        return z, plain[1](z)


@pytest.mark.usefixtures("low")
def test_strips_answer_what_the_whole_does(whole: tuple[Tensor, Tensor], frugal: Networks) -> None:
    x, z = picture(), whole[0].clone()
    with torch.inference_mode():
        torch.testing.assert_close(frugal[0](x), whole[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(frugal[1](z), whole[1], rtol=0, atol=2e-5)
    assert torch.equal(x, picture())
    assert torch.equal(z, whole[0])


@pytest.mark.slow
@pytest.mark.usefixtures("low")
def test_no_layer_sees_more_than_a_strip_and_its_overlap(frugal: Networks, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: dict[int, list[int]] = {}
    convolve = nn.Conv2d._conv_forward

    def seen(layer: nn.Conv2d, x: Tensor, *weights: Tensor) -> Tensor:
        rows.setdefault(x.shape[3], []).append(x.shape[2])
        return convolve(layer, x, *weights)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", seen)
    with torch.inference_mode():
        frugal[1](frugal[0](picture(height=520)))
    finest = max(rows)
    assert finest in (44, 45)
    assert max(rows[44]) < 520 // 4
    assert sum(rows[44]) > 520  # every row was computed


@pytest.mark.usefixtures("low")
def test_large_maps_held_in_half_precision_stay_close(
    whole: tuple[Tensor, Tensor], frugal: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "FULL_PRECISION", 500)
    with torch.inference_mode():
        apart = frugal[1](whole[0]) - whole[1]
    assert 0.0 < apart.std() < 0.02 * whole[1].std()


@pytest.mark.usefixtures("low")
def test_where_gradients_are_wanted_there_are_no_strips(plain: Networks, frugal: Networks) -> None:
    for ours, theirs in zip(plain, frugal, strict=True):
        x = torch.randn(1, next(ours.parameters()).shape[1], 32, 32)
        assert torch.equal(theirs(x), ours(x))


@torch.inference_mode()
@pytest.mark.parametrize("saving", [False, True])
def test_a_batch_of_16_answers_what_16_single_pictures_do(
    saving: bool, plain: Networks, frugal: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    of_one = 64 * 12 * 12  # elements of the largest map: not large, in a batch of any size
    monkeypatch.setattr(strips, "PLAIN", of_one)
    monkeypatch.setattr(strips, "FULL_PRECISION", of_one)
    seen: list[tuple[torch.dtype, int]] = []
    for network in (*plain, *frugal):
        for norm in network.modules():
            if isinstance(norm, nn.GroupNorm):
                norm.register_forward_pre_hook(lambda _, x: seen.append((x[0].dtype, x[0].shape[0])))

    def answers(networks: Networks, x: Tensor) -> tuple[Tensor, Tensor]:
        z = networks[0](x)
        return z, networks[1](z)

    expected = answers(plain, batch)
    layers = len(seen)
    networks = frugal if saving else plain
    together, single = answers(networks, batch), [answers(networks, one) for one in batch.split(1)]
    assert seen == [(torch.float32, 16)] * 2 * layers + [(torch.float32, 1)] * 16 * layers  # each layer as a whole
    for one, other, alone in zip(expected, together, zip(*single, strict=True), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(other, torch.cat(alone), rtol=0, atol=1e-4)


@pytest.mark.usefixtures("low")
@torch.inference_mode()
def test_a_block_overwrites_its_input_only_where_it_is_told() -> None:
    torch.manual_seed(0)
    block, wider = ResnetBlock(32).eval(), ResnetBlock(32, 64).eval()
    for each in (block, wider):
        strips.allow_large_pictures(each)
    x = torch.randn(1, 32, 40, 44)
    before = x.clone()
    kept = block(x)
    assert torch.equal(x, before)
    assert block(x, overwrite=True) is x
    assert torch.equal(x, kept)
    assert wider(before, overwrite=True).shape == (1, 64, 40, 44)


@torch.no_grad()
def test_attention_to_many_positions_takes_a_sample_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    block = AttnBlock(8).eval()
    frugal = deepcopy(block)
    strips.allow_large_pictures(frugal)
    coarse = torch.randn(1, 8, 6, 5)
    fine = coarse.repeat_interleave(3, 2).repeat_interleave(3, 3)
    whole, elsewhere = block(fine), block(coarse, fine)
    monkeypatch.setattr(strips, "MAX_KEYS", 30)
    keys: list[int] = []
    plain = F.scaled_dot_product_attention
    monkeypatch.setattr(F, "scaled_dot_product_attention", lambda q, k, v: keys.append(k.shape[2]) or plain(q, k, v))
    # it loses nothing of cells of equal neighbours
    torch.testing.assert_close(frugal(fine), whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(frugal(coarse, fine), elsewhere, rtol=0, atol=1e-5)
    frugal(fine[:, :, :, :-2])
    frugal(coarse)
    assert keys == [30, 30, 30, 30]
    assert torch.equal(block(fine), whole)  # nobody asked for it
    assert keys[-1] == 270


@torch.inference_mode()
@pytest.mark.parametrize("shape", [{"patch": 2, "ch_mult": [1, 2]}, {"patch": 1, "ch_mult": [1, 1, 2]}])
def test_lean_networks_run_as_a_whole_on_strips_that_overlap(
    shape: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    shape = {"ch": 8, "num_res_blocks": 1, "z_channels": 6, "resolution": 32} | shape
    encoder, decoder = LeanEncoder(**shape).eval(), LeanDecoder(**shape).eval()
    for network in (encoder, decoder):
        for convolution in network.body.modules():
            if isinstance(convolution, nn.Conv2d):
                nn.init.kaiming_normal_(convolution.weight, nonlinearity="linear")
    frugal = deepcopy(encoder), deepcopy(decoder)
    rows: list[int] = []
    for network in frugal:
        strips.allow_large_pictures(network)
        network.conv_in.register_forward_pre_hook(lambda _, x: rows.append(x[0].shape[2]))
    x = picture(height=404)
    z = encoder(x)
    y = decoder(z)
    assert torch.equal(frugal[0](x), z)
    assert torch.equal(frugal[1](z), y)
    assert len(rows) == 2  # not large
    monkeypatch.setattr(strips, "PLAIN", 500)
    monkeypatch.setattr(strips, "STRIP", 1)
    torch.testing.assert_close(frugal[0](x), z, rtol=0, atol=1e-5)
    torch.testing.assert_close(frugal[1](z), y, rtol=0, atol=1e-5)
    # a strip and its overlap on both sides
    first = -(-404 // (2 * encoder.reach * 4))
    assert max(rows[2 : 2 + first]) == 4 * encoder.reach * 4 // shape["patch"]
    assert max(rows[2 + first :]) == 4 * decoder.reach
