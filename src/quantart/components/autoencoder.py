"""Encoder E and decoder G of the VQGAN (Esser et al., CVPR 2021).

This is what trains and is evaluated. In a network that stylises, `stylize.strips` replaces the class of some of these
modules and of `blocks`, so that a large picture goes through in strips of rows and needs less memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from quantart.components.blocks import ChannelsLastConv, Downsample, GroupNorm, Level, MiddleBlock, Upsample


class EncoderLevel(Level):
    """One resolution of the encoder. `downsample` halves it afterwards, except at the last level."""

    def __init__(self, channels: list[int], attention: bool, dropout: float, last: bool) -> None:
        super().__init__(channels, attention, dropout)
        self.downsample = nn.Identity() if last else Downsample(channels[-1])


class DecoderLevel(Level):
    """One resolution of the decoder. `upsample` doubles it afterwards, except at the finest level."""

    def __init__(self, channels: list[int], attention: bool, dropout: float, finest: bool) -> None:
        super().__init__(channels, attention, dropout)
        self.upsample = nn.Identity() if finest else Upsample(channels[-1])


class Encoder(nn.Module):
    """Pictures `(b, in_channels, h, w)` in [-1, 1] to latents `(b, z_channels, h / f, w / f)`, f = 2^(levels - 1).

    Args:
        ch: channels at full resolution.
        ch_mult: multiplier of `ch` for each level; every level after the first halves the resolution.
        num_res_blocks: residual blocks per level.
        attn_resolutions: sides in pixels at which attention follows each block.
        resolution: side in pixels to which `attn_resolutions` refers; the network takes any size divisible by f.
        out_ch: of the decoder; unused here, since both take the same arguments.
        double_z: output `2 * z_channels` channels.
    """

    def __init__(
        self,
        *,
        ch: int,
        ch_mult: Sequence[int],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        resolution: int,
        z_channels: int,
        in_channels: int = 3,
        out_ch: int = 3,
        double_z: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.conv_in = ChannelsLastConv(in_channels, ch, 3, padding=1)
        self.down = nn.ModuleList()
        channels = ch
        for i, multiplier in enumerate(ch_mult):
            widths = [channels] + [ch * multiplier] * num_res_blocks
            attention = resolution // 2**i in attn_resolutions
            self.down.append(EncoderLevel(widths, attention, dropout, last=i == len(ch_mult) - 1))
            channels = widths[-1]
        self.mid = MiddleBlock(channels, dropout)
        self.norm_out = GroupNorm(channels)
        self.conv_out = nn.Conv2d(channels, 2 * z_channels if double_z else z_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for level in self.down:
            h = level(h)
            h = level.get_submodule("downsample")(h)
        return self.conv_out(self.norm_out(self.mid(h), swish=True))


class Decoder(nn.Module):
    """Latents `(b, z_channels, h, w)` to pictures `(b, out_ch, f·h, f·w)`, roughly in [-1, 1] (not clamped).

    It mirrors `Encoder` and takes the same arguments. `up.0` is the finest level; each level has one more block.
    """

    def __init__(
        self,
        *,
        ch: int,
        ch_mult: Sequence[int],
        num_res_blocks: int,
        attn_resolutions: Sequence[int],
        resolution: int,
        z_channels: int,
        in_channels: int = 3,
        out_ch: int = 3,
        double_z: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        channels = ch * ch_mult[-1]
        coarsest = resolution // 2 ** (len(ch_mult) - 1)
        self.conv_in = ChannelsLastConv(z_channels, channels, 3, padding=1)
        self.mid = MiddleBlock(channels, dropout)
        levels: list[DecoderLevel] = []
        for i in reversed(range(len(ch_mult))):
            widths = [channels] + [ch * ch_mult[i]] * (num_res_blocks + 1)
            # sides doubled from the coarsest, as in the reference; they differ from the encoder's if a side was odd
            attention = coarsest * 2 ** (len(ch_mult) - 1 - i) in attn_resolutions
            levels.insert(0, DecoderLevel(widths, attention, dropout, finest=i == 0))
            channels = widths[-1]
        self.up = nn.ModuleList(levels)
        self.norm_out = GroupNorm(channels)
        self.conv_out = nn.Conv2d(channels, out_ch, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.mid(self.conv_in(z))
        for level in reversed(self.up):
            h = level(h)
            h = level.get_submodule("upsample")(h)
        return self.to_pixels(h)

    def to_pixels(self, h: Tensor) -> Tensor:
        """The output layers: maps `(b, c, f·h, f·w)` to pictures `(b, out_ch, f·h, f·w)`."""
        return self.conv_out(self.norm_out(h, swish=True))
