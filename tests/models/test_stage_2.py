from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from quantart.errors import UserError
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.painting import PAINTING_WEIGHTS

from .networks import small_stage_1


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@torch.no_grad()
def test_content_comes_from_one_vqgan_and_everything_else_from_the_other() -> None:
    content, style = small_stage_1(1).eval(), small_stage_1(2).eval()
    model = ExperimentStage2.from_stage1(content, style, block_num=1).eval()
    x = pictures(0)
    assert torch.equal(model.content_latents(x), content.encode(x).z_q)
    assert torch.equal(model.style_latents(x), style.encode(x).z_q)
    assert torch.equal(model.decode(style.encode(x).z_q), style(x)[0])
    # copies: training one later does not change the other
    content.encoder.conv_in.weight.zero_()
    assert model.encoder.conv_in.weight.abs().sum() > 0


def test_vqgans_must_be_alike() -> None:
    with pytest.raises(UserError, match="differ in n_embed"):
        ExperimentStage2.from_stage1(small_stage_1(), small_stage_1(n_embed=8))


def test_the_weights_it_was_trained_with_are_kept_and_the_defaults_where_a_folder_has_none(tmp_path: Path) -> None:
    weights = PAINTING_WEIGHTS | {"texture_weight": 3.0}
    model = ExperimentStage2.from_stage1(small_stage_1(), small_stage_1(), painting_weights=weights, block_num=1)
    model.save_pretrained(tmp_path)
    assert ExperimentStage2.from_pretrained(tmp_path).config["painting_weights"] == weights
    file = tmp_path / "config.json"
    written = json.loads(file.read_text())
    del written["painting_weights"]
    file.write_text(json.dumps(written))
    assert ExperimentStage2.from_pretrained(tmp_path).config["painting_weights"] == PAINTING_WEIGHTS
    for wrong in ({**weights, "gram_weight": 1.0}, 10.0):
        file.write_text(json.dumps({**written, "painting_weights": wrong}))
        with pytest.raises(UserError, match="unknown: gram_weight|describes no ExperimentStage2"):
            ExperimentStage2.from_pretrained(tmp_path)


@torch.no_grad()
def test_discrete_output_is_made_of_style_codes() -> None:
    model = ExperimentStage2.from_stage1(small_stage_1(1), small_stage_1(2), block_num=1).eval()
    content, style = model.content_latents(pictures(0)), model.style_latents(pictures(1))
    output = model.transfer(content, style)
    assert torch.allclose(output.z, model.quantize_dec.lookup(output.indices), atol=1e-6)
    assert torch.equal(output.indices, model.quantize_dec.nearest(output.unquantised))
    assert torch.equal(model(pictures(0), pictures(1)), model.decode(output.z))
    plain = model.transfer(content, style, quantize=False)
    assert plain.indices is None
    assert torch.equal(plain.z, output.unquantised)


@torch.no_grad()
def test_continuous_variant_never_quantises() -> None:
    content = small_stage_1(1).eval()
    model = ExperimentStage2.from_stage1(content, small_stage_1(2), variant="continuous", block_num=1).eval()
    assert not any(name.startswith("quantize") for name in model.state_dict())
    z = model.content_latents(pictures(0))
    assert torch.equal(z, content.latents(pictures(0)))
    output = model.transfer(z, model.style_latents(pictures(1)), quantize=True)
    assert output.indices is None
    assert output.loss.item() == 0.0
    assert torch.equal(output.z, output.unquantised)


@torch.no_grad()
def test_without_its_codebooks_it_is_the_continuous_variant_of_the_same_weights() -> None:
    model = ExperimentStage2.from_stage1(small_stage_1(1), small_stage_1(2), block_num=1).eval()
    other = model.without_codebooks()
    assert (other.variant, other.config["variant"], other.training) == ("continuous", "continuous", False)
    assert other.state_dict().keys() == {name for name in model.state_dict() if not name.startswith("quantize")}
    assert all(ours is other.get_parameter(name) for name, ours in model.named_parameters() if "quantize" not in name)
    latents = model.projected(model.quant_conv(model.encoder(pictures(0))))
    assert torch.equal(other.content_latents(pictures(0)), latents)
    assert torch.equal(other.transfer(latents, latents).z, model.transfer(latents, latents, quantize=False).z)


def test_unknown_variant_is_named() -> None:
    with pytest.raises(UserError) as unknown:
        ExperimentStage2.from_stage1(small_stage_1(), small_stage_1(), variant="discreet")
    assert "'discreet'" in unknown.value.fault


@torch.no_grad()
@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_cosine_codes_stay_at_length_one_on_their_whole_way(variant: str) -> None:
    content, style = (small_stage_1(seed, cosine=True) for seed in (1, 2))
    model = ExperimentStage2.from_stage1(content, style, variant=variant, block_num=1).eval()
    latents = model.content_latents(pictures(0)), model.style_latents(pictures(1))
    for z in (*latents, model.transfer(*latents).z):
        assert torch.allclose(z.norm(dim=1), torch.ones(2, 8, 8))
