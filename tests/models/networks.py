"""Small networks for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from quantart.models.fidelity import FidelityControl
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import VARIANTS, Variant

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
PAINTER: dict[str, Any] = DDCONFIG | {"z_channels": 8, "resolution": 32}
"""Shape of the networks that paint in tests of stylising, serving and evaluation."""
LEAN: dict[str, Any] = {
    "architecture": "lean",
    "patch": 2,
    "ch": 8,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "z_channels": 8,
    "resolution": 32,
}
"""Downsampling 4."""


def small_stage_1(seed: int = 0, **options: Any) -> ExperimentStage1:
    """Downsampling 2, 16 codes of 8."""
    torch.manual_seed(seed)
    model = ExperimentStage1(**{"ddconfig": DDCONFIG, "n_embed": 16, "embed_dim": 8, **options})
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model


def small_stage_2() -> ExperimentStage2:
    """A discrete network of shape `PAINTER`, in eval mode."""
    torch.manual_seed(0)
    vqgans = [ExperimentStage1(PAINTER, n_embed=16, embed_dim=8) for _ in range(2)]
    for vqgan in vqgans:
        spread(vqgan)
    return ExperimentStage2.from_stage1(*vqgans, block_num=1).eval()


def spread(vqgan: ExperimentStage1) -> ExperimentStage1:
    """The same VQGAN with codes as far apart as its latents are, so that several are used."""
    torch.nn.init.normal_(vqgan.quantize.embedding.weight, std=0.3)
    return vqgan


def small_painter(**options: Any) -> ExperimentStage2:
    """A lean network that paints, of shape `LEAN`; every number is drawn, so that none is left out unnoticed."""
    torch.manual_seed(0)
    shape = {"width": 32, "coarse_blocks": 2, "fine_blocks": 1, "transfer_network": "twin", **options}
    model = ExperimentStage2(LEAN, n_embed=48, embed_dim=8, **shape).eval()
    for name, value in model.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn_like(value)
            value.copy_(drawn.sigmoid() + 0.5 if name.endswith(("var", "deviation")) else value + 0.1 * drawn)
    return model


def small_painters() -> FidelityControl:
    """A discrete and a continuous one of them, with one decoder, as a project trains them."""
    discrete, continuous = small_painter(), small_painter(variant="continuous")
    for part in ("post_quant_conv", "decoder"):
        continuous.get_submodule(part).load_state_dict(discrete.get_submodule(part).state_dict())
    return FidelityControl(discrete, continuous)


def small_control(discrete: ExperimentStage2) -> FidelityControl:
    """A network of shape `PAINTER` and a continuous one with its encoders and another decoder."""
    torch.manual_seed(1)
    continuous = ExperimentStage2(PAINTER, n_embed=16, embed_dim=8, block_num=1, variant="continuous").eval()
    for part in ("encoder", "quant_conv", "encoder_real", "quant_conv_real"):
        continuous.get_submodule(part).load_state_dict(discrete.get_submodule(part).state_dict())
    return FidelityControl(discrete, continuous)


def save_control(control: FidelityControl, folder: Path) -> dict[Variant, Path]:
    """Save both networks below `folder`; their folders by variant."""
    for model in (control.discrete, control.continuous):
        assert model is not None
        model.save_pretrained(folder / model.variant)
    return {variant: folder / variant for variant in VARIANTS}
