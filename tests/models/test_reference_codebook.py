"""Codebooks of other kinds become ours: every picture keeps its codes, and these decode to the same picture."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from quantart.errors import UserError
from quantart.models.reference import Imported, from_state_dict
from quantart.models.reference_config import Settings
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

from .networks import DDCONFIG, small_stage_1

CODES, WIDTH = 40, 5


def gumbel_state(seed: int = 0) -> dict[str, Tensor]:
    """As Taming's GumbelVQ names and shapes them: scores of a 1 × 1 convolution, codes of another length."""
    torch.manual_seed(seed)
    state = dict(small_stage_1(seed).state_dict())
    del state["quantize.embedding.weight"]
    state["quantize.proj.weight"] = torch.randn(CODES, 8, 1, 1) + 3.0
    state["quantize.proj.bias"] = torch.randn(CODES) * 0.1 - 2.0
    state["quantize.embed.weight"] = torch.randn(CODES, WIDTH) * 7.0
    state["post_quant_conv.weight"] = torch.randn(6, WIDTH, 1, 1)
    return state


def most_probable(state: dict[str, Tensor], network: ExperimentStage1, x: Tensor) -> tuple[Tensor, Tensor]:
    """What GumbelVQ computes without its noise: indices, and the picture decoded from them."""
    z = F.conv2d(network.encoder(x), state["quant_conv.weight"], state["quant_conv.bias"])
    indices = F.conv2d(z, state["quantize.proj.weight"], state["quantize.proj.bias"]).argmax(1)
    codes = state["quantize.embed.weight"][indices].permute(0, 3, 1, 2)
    decoded = F.conv2d(codes, state["post_quant_conv.weight"], state["post_quant_conv.bias"])
    return indices, network.decoder(decoded)


def vqgan(imported: Imported) -> ExperimentStage1:
    assert isinstance(imported.network, ExperimentStage1)
    return imported.network


@torch.no_grad()
def test_a_gumbel_codebook_keeps_its_codes_and_pictures() -> None:
    state = gumbel_state()
    opened = from_state_dict(state, Settings(), "a")
    network = vqgan(opened)
    assert opened.gumbel
    assert network.config["n_embed"] == CODES
    assert network.config["embed_dim"] == 32  # 8 + 1 + 5, up to what the style transfer network can normalise
    x = torch.randn(4, 3, 32, 32)
    indices, picture = most_probable(state, network, x)
    assert len(indices.unique()) > 3
    decoded, quantized = network(x)
    assert torch.equal(quantized.indices, indices)
    torch.testing.assert_close(decoded, picture, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_codes_that_taming_numbers_anew_are_the_only_ones_chosen() -> None:
    used = torch.arange(0, CODES, 3)
    state = gumbel_state() | {"quantize.used": used}
    network = vqgan(from_state_dict(state, Settings(), "a"))
    x = torch.randn(4, 3, 32, 32)
    rows = {
        key: value[used] if key.startswith(("quantize.proj", "quantize.embed")) else value
        for key, value in state.items()
    }
    assert torch.equal(network.encode(x).indices, most_probable(rows, network, x)[0])


@torch.no_grad()
def test_two_gumbel_vqgans_carry_a_style_transfer_network() -> None:
    vqgans = [vqgan(from_state_dict(gumbel_state(seed), Settings(), "a")) for seed in (0, 1)]
    painter = ExperimentStage2.from_stage1(*vqgans, block_num=1).eval()
    x = torch.randn(1, 3, 32, 32)
    latents = painter.content_latents(x)
    torch.testing.assert_close(latents, vqgans[0].quantize.lookup(vqgans[0].encode(x).indices))
    assert painter(x, x).isfinite().all()


def test_only_a_converted_vqgan_has_latents_that_do_not_decode() -> None:
    assert not vqgan(from_state_dict(gumbel_state(), Settings(), "a")).latents_decode
    assert small_stage_1().latents_decode


def test_a_configuration_speaks_of_the_codebook_as_it_was() -> None:
    def settings(embed_dim: int) -> Settings:
        return Settings(config={"params": {"embed_dim": embed_dim, "n_embed": CODES, "ddconfig": DDCONFIG}})

    assert from_state_dict(gumbel_state(), settings(WIDTH), "a").gumbel
    with pytest.raises(UserError, match=f"embed_dim 6 for {WIDTH}"):
        from_state_dict(gumbel_state(), settings(6), "a")


@pytest.mark.parametrize(
    ("key", "shape"),
    [
        ("quantize.proj.bias", (CODES + 1,)),
        ("quantize.embed.weight", (CODES, WIDTH, 1)),
        ("quantize.proj.weight", (CODES, 9, 1, 1)),
        ("post_quant_conv.weight", (6, WIDTH + 1, 1, 1)),
        ("quant_conv.bias", None),
    ],
)
def test_shapes_that_contradict_each_other_are_named(key: str, shape: tuple[int, ...] | None) -> None:
    state = gumbel_state()
    if shape is None:
        del state[key]
    else:
        state[key] = torch.zeros(shape)
    with pytest.raises(UserError) as error:
        from_state_dict(state, Settings(), "a.ckpt")
    assert error.value.fault.startswith("a.ckpt: ")
    assert key in error.value.fault


def test_an_ema_codebook_opens_without_its_buffers() -> None:
    state = dict(small_stage_1().state_dict())
    buffers = {"cluster_size": torch.ones(16), "embed_avg": torch.zeros(16, 8)}
    opened = from_state_dict(
        state | {f"quantize.embedding.{key}": value for key, value in buffers.items()}, Settings(), "a"
    )
    assert torch.equal(vqgan(opened).quantize.embedding.weight, state["quantize.embedding.weight"])
    assert list(opened.dropped.values()) == [2]
    assert not opened.gumbel


@pytest.mark.parametrize("theirs", ["_codebook.embed", "embed", "levels"])
def test_a_codebook_of_an_unknown_kind_is_named(theirs: str) -> None:
    state = dict(small_stage_1().state_dict())
    state[f"quantize.{theirs}"] = state.pop("quantize.embedding.weight")
    with pytest.raises(UserError) as error:
        from_state_dict(state, Settings(), "a.ckpt")
    assert f"quantize.{theirs}" in error.value.fault
    assert "quantize.embedding.weight" in (error.value.remedy or "")
