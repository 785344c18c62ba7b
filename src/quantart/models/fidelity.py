"""Fidelity control: between a discrete and a continuous model, and between style and content (Huang et al. 2023).

z = mix(α, mix(β, zq_y, zq_c), mix(β, z_y, z_c)) with mix(p, u, v) = p·u + (1 − p)·v, where q marks the discrete
model's codes, y the transferred and c the content's latents. The decoders' weights are mixed by α too. The models,
which must be of one shape, stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import functional_call

from quantart.models.stage_2 import ExperimentStage2


def mix_latents(
    discrete: ExperimentStage2, continuous: ExperimentStage2, content: Tensor, style: Tensor, alpha: float, beta: float
) -> Tensor:
    """Pictures `(b, 3, h, w)` in [-1, 1] to mixed latents z `(b, c, h / f, w / f)`.

    Args:
        alpha: visual fidelity in [0, 1]; 1: discrete, 0: continuous.
        beta: style fidelity in [0, 1]; 1: style, 0: content.
    """
    coded, plain = (_mix_style(model, content, style, beta) for model in (discrete, continuous))
    return torch.lerp(plain, coded, alpha)


def mix_decode(discrete: ExperimentStage2, continuous: ExperimentStage2, z: Tensor, alpha: float) -> Tensor:
    """Latents `(b, c, h, w)` to pictures `(b, 3, f·h, f·w)` by decoders mixed by `alpha`, not clamped."""
    for name in ("post_quant_conv", "decoder"):
        part = discrete.get_submodule(name)
        plain = continuous.get_submodule(name).state_dict()
        weights = {key: torch.lerp(plain[key], coded, alpha) for key, coded in part.state_dict().items()}
        z = functional_call(part, weights, (z,))
    return z


def _mix_style(model: ExperimentStage2, content: Tensor, style: Tensor, beta: float) -> Tensor:
    z_c = model.content_latents(content)
    z_y = model.transfer(z_c, model.style_latents(style)).z
    return torch.lerp(z_c, z_y, beta)
