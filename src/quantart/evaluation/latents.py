"""Stage 2's losses as metrics: one value for each picture of a batch."""

from __future__ import annotations

import torch
from torch import Tensor

from quantart.losses.reference import calc_content_loss, calc_style_loss


def latent_content(latents: Tensor, content: Tensor) -> Tensor:
    """Stage 2's content loss of each picture, from latents `(b, c, h, w)`: `(b,)`."""
    return torch.stack([calc_content_loss(z[None], z_c[None]) for z, z_c in zip(latents, content, strict=True)])


def latent_style(latents: Tensor, style: Tensor) -> Tensor:
    """Stage 2's style loss of each picture, from latents `(b, c, h, w)`: `(b,)`."""
    return torch.stack([calc_style_loss(z[None], z_s[None]) for z, z_s in zip(latents, style, strict=True)])
