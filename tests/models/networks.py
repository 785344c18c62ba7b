"""Small networks for the tests."""

from __future__ import annotations

from typing import Any

import torch

from quantart.models.stage_1 import ExperimentStage1

DDCONFIG: dict[str, Any] = {
    "double_z": False,
    "z_channels": 6,
    "resolution": 16,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 8,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "dropout": 0.0,
}


def small_stage_1(seed: int = 0, **options: Any) -> ExperimentStage1:
    """Downsampling 2, 16 codes of 8."""
    torch.manual_seed(seed)
    model = ExperimentStage1(**{"ddconfig": DDCONFIG, "n_embed": 16, "embed_dim": 8, **options})
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model
