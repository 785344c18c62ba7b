"""Large pictures are worked through in strips, and nothing but the memory tells."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantart.components.autoencoder import Decoder, Encoder
from quantart.components.blocks import Entry, ResnetBlock
from quantart.stylize import strips

SHAPE: dict[str, Any] = {
    "ch": 32,  # 32 groups; 8 channels: one group
    "ch_mult": [1, 2, 2],
    "num_res_blocks": 2,
    "attn_resolutions": [8],
    "resolution": 32,
    "z_channels": 6,
}


@pytest.fixture(params=[32, 8], ids=lambda ch: f"{ch} channels")
def networks(request: pytest.FixtureRequest) -> tuple[Encoder, Decoder]:
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
def low(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits at which pictures of these tests count as large, and come in strips of a few rows."""
    monkeypatch.setattr(strips, "PLAIN", 500)
    monkeypatch.setattr(strips, "STRIP", 2 * 32 * 44 * 6)


@pytest.fixture
def large(low: None) -> Iterator[None]:
    """Low limits, and they count."""
    with strips.large_pictures():
        yield


def picture(height: int = 52, width: int = 44) -> Tensor:
    # a gradient from top to bottom: each strip by itself would have another mean
    ramp = torch.linspace(-1.0, 1.0, height)[:, None]
    return torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(1)) * 0.2 + ramp


@pytest.fixture
def whole(networks: tuple[Encoder, Decoder]) -> tuple[Tensor, Tensor]:
    """What both answer without strips."""
    with torch.inference_mode():
        z = networks[0](picture())
        return z, networks[1](z)


def test_strips_answer_what_the_whole_does(
    whole: tuple[Tensor, Tensor], large: None, networks: tuple[Encoder, Decoder]
) -> None:
    x, z = picture(), whole[0].clone()
    with torch.inference_mode():
        torch.testing.assert_close(networks[0](x), whole[0], rtol=0, atol=1e-5)
        torch.testing.assert_close(networks[1](z), whole[1], rtol=0, atol=2e-5)
    assert torch.equal(x, picture())
    assert torch.equal(z, whole[0])


def test_no_layer_sees_more_than_a_strip_and_its_overlap(large: None, networks: tuple[Encoder, Decoder]) -> None:
    rows: dict[int, list[int]] = {}
    for network in networks:
        for layer in network.modules():
            if isinstance(layer, Entry):  # makes strips itself
                made = layer._conv_forward
                layer._conv_forward = lambda x, *w, made=made: (
                    rows.setdefault(x.shape[3], []).append(  # type: ignore
                        x.shape[2]
                    )
                    or made(x, *w)
                )
            elif isinstance(layer, nn.Conv2d):
                layer.register_forward_pre_hook(lambda _, x: rows.setdefault(x[0].shape[3], []).append(x[0].shape[2]))
    with torch.inference_mode():
        networks[1](networks[0](picture(height=520)))
    finest = max(rows)
    assert finest in (44, 45)
    assert max(rows[44]) < 520 // 4
    assert sum(rows[44]) > 520  # every row was computed


def test_large_maps_held_in_half_precision_stay_close(
    whole: tuple[Tensor, Tensor], large: None, networks: tuple[Encoder, Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strips, "FULL_PRECISION", 500)
    with torch.inference_mode():
        apart = networks[1](whole[0]) - whole[1]
    assert 0.0 < apart.std() < 0.02 * whole[1].std()


@pytest.mark.usefixtures("low")
@torch.inference_mode()
def test_nobody_who_did_not_ask_for_it_gets_strips(
    networks: tuple[Encoder, Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*_: object, **__: object) -> Tensor:
        raise AssertionError("in strips")

    for layer in ("autoencoder.normed_in_strips", "blocks.in_strips", "blocks.residual_in_strips", "blocks._thinned"):
        monkeypatch.setattr(f"quantart.components.{layer}", none)
    monkeypatch.setattr(strips, "FULL_PRECISION", 500)
    encoder, decoder = networks
    expected = decoder(encoder(picture()))
    assert expected.dtype == torch.float32
    with pytest.raises(AssertionError, match="in strips"), strips.large_pictures():
        encoder(picture())
    assert torch.equal(decoder(encoder(picture())), expected)  # the block has ended
    with strips.large_pictures(), ThreadPoolExecutor(1) as other, torch.inference_mode(False):
        assert torch.equal(other.submit(lambda: torch.no_grad()(decoder)(encoder(picture()))).result(), expected)
    for network in networks:
        network.train()
    decoder(encoder(picture()))


@torch.inference_mode()
@pytest.mark.parametrize("counts", [False, True])
def test_a_batch_of_16_answers_what_16_single_pictures_do(
    counts: bool, networks: tuple[Encoder, Decoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = torch.randn(16, 3, 12, 12, generator=torch.Generator().manual_seed(2))
    of_one = 64 * 12 * 12  # elements of the largest map: not large, in a batch of any size
    monkeypatch.setattr(strips, "PLAIN", of_one)
    monkeypatch.setattr(strips, "FULL_PRECISION", of_one)
    seen: list[tuple[torch.dtype, int]] = []
    for network in networks:
        for norm in network.modules():
            if isinstance(norm, nn.GroupNorm):
                norm.register_forward_pre_hook(lambda _, x: seen.append((x[0].dtype, x[0].shape[0])))
    encoder, decoder = networks

    def answers(x: Tensor) -> tuple[Tensor, Tensor]:
        z = encoder(x)
        return z, decoder(z)

    plain = answers(batch)
    layers = len(seen)
    if counts:
        with strips.large_pictures():
            together, single = answers(batch), [answers(one) for one in batch.split(1)]
    else:
        together, single = answers(batch), [answers(one) for one in batch.split(1)]
    assert seen == [(torch.float32, 16)] * 2 * layers + [(torch.float32, 1)] * 16 * layers  # each layer as a whole
    for one, other, alone in zip(plain, together, zip(*single, strict=True), strict=True):
        assert torch.equal(one, other)
        torch.testing.assert_close(other, torch.cat(alone), rtol=0, atol=1e-4)


def test_where_gradients_are_wanted_there_are_no_strips(large: None) -> None:
    block = ResnetBlock(32).eval()
    x = picture().repeat(1, 11, 1, 1)[:, :32].requires_grad_()
    block(x, overwrite=True).sum().backward()
    assert x.grad is not None


@torch.inference_mode()
def test_a_block_overwrites_its_input_only_where_it_is_told(large: None) -> None:
    torch.manual_seed(0)
    block = ResnetBlock(32).eval()
    x = torch.randn(1, 32, 40, 44)
    before = x.clone()
    kept = block(x)
    assert torch.equal(x, before)
    assert block(x, overwrite=True) is x
    assert torch.equal(x, kept)
    wider = ResnetBlock(32, 64).eval()
    assert wider(before, overwrite=True).shape == (1, 64, 40, 44)
