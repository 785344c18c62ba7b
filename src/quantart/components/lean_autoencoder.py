"""A cheap encoder and decoder (not in the paper): space to depth at the entry, no norm, no attention.

At full resolution convolutions are bound by memory, not by arithmetic. So the encoder takes squares of `patch` ×
`patch` pixels as channels, and the decoder gives them back (Shi et al., CVPR 2016). Without norms and attention an
output depends on pixels nearby alone, and the cost grows with the area. In a network that stylises, `stylize.strips`
replaces the classes of both, so that a large picture goes through in strips.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.blocks import ChannelsLastConv


class LeanBlock(nn.Module):
    """x + conv(silu(conv(x))). The second convolution starts near zero, since no norm bounds its output."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in self.conv2.parameters():
            nn.init.normal_(parameter, std=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.silu(self.conv1(x)))


class LeanEncoder(nn.Module):
    """Pictures `(b, 3, h, w)` in [-1, 1] to latents `(b, z_channels, h / f, w / f)`, f = patch · 2^(levels - 1).

    Args:
        ch: channels at the first level, times `ch_mult[0]`; its maps are `(h / patch, w / patch)`.
        ch_mult: multiplier of `ch` for each level; every level after the first halves the resolution.
        num_res_blocks: residual blocks per level.
        patch: side in pixels of the squares that enter as one.
        resolution: side in pixels of the pictures in training, to which `stylize` scales paintings; unused here.

    Attributes:
        scale: of the output's sides relative to the input's: 1 / f, or f of the decoder.
        reach: codes, at most, from a latent to the farthest pixel that it depends on.
    """

    def __init__(
        self, *, ch: int, ch_mult: Sequence[int], num_res_blocks: int, z_channels: int, patch: int, resolution: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.scale = 1.0 / (patch * 2 ** (len(ch_mult) - 1))
        self.reach = 4 * num_res_blocks + 2  # all levels together: less than twice the coarsest
        widths = [ch * multiplier for multiplier in ch_mult]
        self.conv_in = ChannelsLastConv(3 * patch**2, widths[0], 3, padding=1)
        layers: list[nn.Module] = []
        for i, width in enumerate(widths):
            if i:
                layers.append(nn.Conv2d(widths[i - 1], width, 4, stride=2, padding=1))
            layers += [LeanBlock(width) for _ in range(num_res_blocks)]
        self.body = nn.Sequential(*layers)
        self.conv_out = nn.Conv2d(widths[-1], z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(F.silu(self.body(self.conv_in(F.pixel_unshuffle(x, self.patch)))))


class LeanDecoder(nn.Module):
    """Latents `(b, z_channels, h, w)` to pictures `(b, 3, f·h, f·w)`, roughly in [-1, 1] (not clamped).

    It mirrors `LeanEncoder` and takes the same arguments; each level has one more block.
    """

    def __init__(
        self, *, ch: int, ch_mult: Sequence[int], num_res_blocks: int, z_channels: int, patch: int, resolution: int
    ) -> None:
        super().__init__()
        self.patch = patch
        self.scale = float(patch * 2 ** (len(ch_mult) - 1))
        self.reach = 4 * (num_res_blocks + 1) + 2
        widths = [ch * multiplier for multiplier in ch_mult]
        self.conv_in = ChannelsLastConv(z_channels, widths[-1], 3, padding=1)
        layers: list[nn.Module] = []
        for i in reversed(range(len(widths))):
            layers += [LeanBlock(widths[i]) for _ in range(num_res_blocks + 1)]
            if i:
                layers += [nn.Conv2d(widths[i], 4 * widths[i - 1], 1), nn.PixelShuffle(2)]
        self.body = nn.Sequential(*layers)
        self.conv_out = nn.Conv2d(widths[0], 3 * patch**2, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv_out(F.silu(self.body(self.conv_in(z)))), self.patch)
