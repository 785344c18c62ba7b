"""Building blocks of the VQGAN and of the style transfer network.

The parameters carry the reference's names, so that its state dicts load strictly. Every block takes and returns
`(b, c, h, w)`. On large pictures a network that stylises runs subclasses of these, see `stylize.strips`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.half_norm import HalfGroupNorm, pays
from quantart.components.precision import full_precision

MAX_WEIGHTS = 2**17
"""Attention weights of one picture up to which a CPU computes them explicitly in bfloat16. That is three times as fast
as the fused attention, forward and backward, with 256 positions, and slower with 1024."""


class GroupNorm(nn.GroupNorm):
    """Group normalisation with 32 groups, or one if there are fewer than 32 channels; optionally followed by swish.

    Its statistics are float32 under autocast too. Where it `pays`, bfloat16 stays bfloat16 (`HalfGroupNorm`); otherwise
    half precision comes back as float32.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(32 if channels >= 32 else 1, channels, eps=1e-6, affine=True)

    def forward(self, x: Tensor, swish: bool = False) -> Tensor:
        if pays(x):
            half: Tensor = HalfGroupNorm.apply(x, self.weight, self.bias, self.num_groups, self.eps, swish)
            return half
        normed = super().forward(full_precision(x))
        return F.silu(normed, inplace=not torch.is_grad_enabled()) if swish else normed


class ResnetBlock(nn.Module):
    """Norm, swish, convolution, twice; the skip is a 1 × 1 convolution where the number of channels changes."""

    def __init__(self, in_channels: int, out_channels: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        out_channels = out_channels or in_channels
        self.norm1 = GroupNorm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = GroupNorm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        if in_channels != out_channels:
            self.nin_shortcut: nn.Module = nn.Conv2d(in_channels, out_channels, 1)
        else:
            self.nin_shortcut = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(self.norm1(x, swish=True))
        h = self.conv2(self.dropout(self.norm2(h, swish=True)))
        return self.nin_shortcut(x) + h


class AttnBlock(nn.Module):
    """Single-head attention over positions; with a `context`, cross-attention to it.

    The queries come from the input, keys and values from the context (without one, from the input itself); the same
    norm is applied to both.
    """

    def __init__(self, channels: int, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.norm = GroupNorm(channels)
        self.q = nn.Conv2d(channels, channels, 1)
        self.k = nn.Conv2d(channels, channels, 1)
        self.v = nn.Conv2d(channels, channels, 1)
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """x: `(b, c, h, w)`; context: `(b, c, h2, w2)`, whose size may differ."""
        normed = self.norm(x)
        h = self.attend(normed, normed if context is None else self.norm(context))
        return x + h if self.residual else h

    def attend(self, normed: Tensor, source: Tensor) -> Tensor:
        """Attention of each position of `normed` `(b, c, h, w)` to all positions of `source` `(b, c, h2, w2)`."""
        keys = _tokens(source)
        q, k, v = _linear(self.q, _tokens(normed)), _linear(self.k, keys), _linear(self.v, keys)
        return _linear(self.proj_out, _attention(q, k, v)).transpose(1, 2).unflatten(2, normed.shape[2:])


def _attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √c) v, one head; q: `(b, n, c)`, k and v: `(b, m, c)`."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[1] * k.shape[1] <= MAX_WEIGHTS:
        weights = (q @ k.mT * q.shape[2] ** -0.5).softmax(2)
        return weights.to(q.dtype) @ v
    return F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)


def _tokens(x: Tensor) -> Tensor:
    """`(b, c, h, w)` to `(b, h·w, c)`; copies nothing if the memory format is channels-last."""
    return x.flatten(2).transpose(1, 2).contiguous()


def _linear(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1 × 1 convolution of tokens `(b, n, c)` as one matrix product, which is faster, above all backward."""
    return F.linear(tokens, conv.weight.flatten(1), conv.bias)


class Downsample(nn.Module):
    """Halves the sides: one zero on the right and below, then a 3 × 3 convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the sides: nearest neighbour, then a 3 × 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class MiddleBlock(nn.Module):
    """Residual block, attention, residual block at the lowest resolution."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, dropout=dropout)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x)))


class Level(nn.Module):
    """The residual blocks of one resolution of the encoder or the decoder.

    Args:
        channels: of the input and after each block; one more entry than there are blocks.
        attention: put attention after every block.
    """

    def __init__(self, channels: list[int], attention: bool, dropout: float) -> None:
        super().__init__()
        pairs = list(zip(channels, channels[1:], strict=False))
        self.block = nn.ModuleList(ResnetBlock(i, o, dropout) for i, o in pairs)
        self.attn = nn.ModuleList(AttnBlock(o) for _, o in pairs if attention)

    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x)
            if len(self.attn):
                x = self.attn[i](x)
        return x


class ChannelsLastConv(nn.Conv2d):
    """A convolution whose output is channels-last in memory. The layers that follow keep that format and are faster."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous(memory_format=torch.channels_last))
