from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from quantart.errors import UserError
from quantart.models.stage_1 import ExperimentStage1

from .networks import LEAN, small_stage_1


@torch.no_grad()
def test_forward_is_encode_then_decode() -> None:
    model = small_stage_1().eval()
    x = torch.rand(2, 3, 16, 24) * 2 - 1
    reconstruction, quantized = model(x)
    assert reconstruction.shape == x.shape
    assert quantized.indices.shape == (2, 8, 12)
    assert torch.equal(quantized.indices, model.quantize.nearest(model.latents(x)))
    assert torch.equal(reconstruction, model.decode(model.encode(x).z_q))


def test_state_dict_has_the_references_keys() -> None:
    names = set(small_stage_1().state_dict())
    assert {"quantize.embedding.weight", "quant_conv.weight", "post_quant_conv.bias"} <= names
    assert {"encoder.down.0.downsample.conv.weight", "encoder.mid.attn_1.q.weight"} <= names
    assert {"decoder.up.1.upsample.conv.weight", "decoder.up.0.block.1.norm1.weight"} <= names
    assert not {n for n in names if n.startswith(("encoder.down.1.downsample", "decoder.up.0.upsample"))}


@torch.no_grad()
def test_cosine_latents_have_length_one() -> None:
    model = small_stage_1(cosine=True).eval()
    x = torch.rand(2, 3, 16, 16)
    assert torch.allclose(model.latents(x).norm(dim=1), torch.ones(2, 8, 8))
    assert torch.allclose(model.encode(x).z_q.norm(dim=1), torch.ones(2, 8, 8))


def test_lean_has_no_norm_and_opens_again(tmp_path: Path) -> None:
    model = small_stage_1(ddconfig=LEAN).eval()
    x = torch.rand(1, 3, 24, 16) * 2 - 1
    with torch.no_grad():
        reconstruction, quantized = model(x)
    assert reconstruction.shape == x.shape
    assert quantized.indices.shape == (1, 6, 4)
    assert not [name for name in model.state_dict() if "norm" in name or "attn" in name]
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        assert torch.equal(ExperimentStage1.from_pretrained(tmp_path)(x)[0], reconstruction)


def test_an_unknown_architecture_is_named(tmp_path: Path) -> None:
    small_stage_1(ddconfig=LEAN).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["ddconfig"]["architecture"] = "slim"
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError) as caught:
        ExperimentStage1.from_pretrained(tmp_path)
    assert "slim" in caught.value.fault


def test_the_references_configuration_says_nothing_of_architectures() -> None:
    assert "architecture" not in small_stage_1().config["ddconfig"]
