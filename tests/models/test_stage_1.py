from __future__ import annotations

import torch

from .networks import small_stage_1


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
