"""The style transfer network T(z_c, z_s) (Huang et al., CVPR 2023)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantart.components.blocks import AttnBlock, ResnetBlock


def adain(content: Tensor, style: Tensor) -> Tensor:
    """Adaptive instance normalisation of content `(b, c, h, w)` to style `(b, c, h2, w2)`.

    Each channel gets the mean and standard deviation over space of the style's channel (Huang & Belongie, ICCV 2017).
    """
    normalised = (content - _mean(content)) / _deviation(content)
    return normalised * _deviation(style) + _mean(style)


def _mean(latents: Tensor) -> Tensor:
    return latents.mean((2, 3), keepdim=True)


def _deviation(latents: Tensor) -> Tensor:
    # a constant channel would divide by 0
    return latents.std((2, 3), keepdim=True, correction=0).clamp_min(1e-5)


class StyleTransferBlock(nn.Module):
    """Residual block, self-attention, then cross-attention to the style."""

    def __init__(self, channels: int, residual: bool, use_conv: bool, use_selfatt: bool) -> None:
        super().__init__()
        self.res_block = ResnetBlock(channels) if use_conv else None
        self.self_attn_block = AttnBlock(channels, residual) if use_selfatt else None
        self.attn_block = AttnBlock(channels, residual)

    def forward(self, x: Tensor, style: Tensor | None) -> Tensor:
        if self.res_block is not None:
            x = self.res_block(x)
        if self.self_attn_block is not None:
            x = self.self_attn_block(x)
        return x if style is None else self.attn_block(x, style)


class StyleTransferModule(nn.Module):
    """Maps content latents to style latents, block after block, each attending to the style.

    Args:
        channels: of content and style.
        block_num: number of blocks.
        residual: attention adds to its input.
        use_conv: each block begins with a residual block of convolutions.
        use_selfatt: each block attends to the content itself before the style.
    """

    def __init__(
        self,
        channels: int,
        block_num: int = 6,
        residual: bool = True,
        use_conv: bool = True,
        use_selfatt: bool = True,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            StyleTransferBlock(channels, residual, use_conv, use_selfatt) for _ in range(block_num)
        )

    def style_features(self, style: Tensor) -> Tensor:
        """The style's latents `(b, c, h, w)` themselves: what each block takes from them depends on the content."""
        return style

    def forward(self, content: Tensor, style: Tensor | None) -> Tensor:
        """content: `(b, c, h, w)`; style: `(b, c, h2, w2)`, or None to leave the cross-attention out.

        Returns:
            `(b, c, h, w)`, not quantised.
        """
        content = content.contiguous(memory_format=torch.channels_last)  # faster; all blocks keep this format
        for block in self.blocks:
            content = block(content, style)
        return content
