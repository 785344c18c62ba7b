from __future__ import annotations

import torch

from quantart.models.fidelity import mix_decode, mix_latents
from quantart.models.stage_2 import ExperimentStage2

from .networks import small_stage_1


@torch.no_grad()
def test_the_corners_are_the_plain_models() -> None:
    discrete = ExperimentStage2.from_stage1(small_stage_1(1), small_stage_1(2), block_num=1).eval()
    continuous = ExperimentStage2.from_stage1(
        small_stage_1(3), small_stage_1(4), variant="continuous", block_num=1
    ).eval()
    x, y = (torch.rand(1, 3, 16, 16) * 2 - 1 for _ in range(2))
    before = {name: value.clone() for name, value in discrete.state_dict().items()}
    for model, alpha in ((discrete, 1.0), (continuous, 0.0)):
        z = mix_latents(discrete, continuous, x, y, alpha, beta=1.0)
        assert torch.allclose(mix_decode(discrete, continuous, z, alpha), model(x, y), atol=1e-5)
        content = mix_latents(discrete, continuous, x, y, alpha, beta=0.0)
        assert torch.allclose(content, model.content_latents(x), atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in discrete.state_dict().items())
