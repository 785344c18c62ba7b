"""Building blocks of the VQGAN and of the style transfer network.

The parameters carry the reference's names, so that its state dicts load strictly. Every block takes and returns
`(b, c, h, w)`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.half_norm import HalfGroupNorm, pays
from quantart.components.precision import full_precision
from quantart.stylize.strips import in_strips, is_large, residual_in_strips, saves_memory

MAX_KEYS = 2**14
"""Positions, 128 × 128, up to which attention in a large picture sees each one by itself."""

MAX_WEIGHTS = 2**17
"""Weights of one picture's attention up to which they are written out on a CPU in bfloat16: three times as fast there
as the fused attention, forward and backward, with 256 positions, and slower with 1024."""


class GroupNorm(nn.GroupNorm):
    """Group normalisation with 32 groups, or one where there are fewer than 32 channels; perhaps swish of it.

    Its statistics are float32's under autocast too. Where it `pays` bfloat16 stays bfloat16 (`HalfGroupNorm`), else
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
    """Norm, swish, convolution, twice; the skip is a 1 × 1 convolution where the number of channels changes.

    Within `strips.large_pictures`, a large input is worked through in strips.
    """

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

    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        """overwrite: nobody needs `x` any more; a large one is then written over, to save its memory."""
        if not self.training and is_large(x, self.conv2.out_channels):
            layers = (self.norm1, self.conv1, self.norm2, self.conv2, self.nin_shortcut)
            return residual_in_strips(*layers, x, overwrite)
        h = self.conv1(self.norm1(x, swish=True))
        h = self.conv2(self.dropout(self.norm2(h, swish=True)))
        return self.nin_shortcut(x) + h


class AttnBlock(nn.Module):
    """One-head attention over positions; with a `context`, cross-attention to it.

    The queries come from the input, keys and values from the context (the input itself without one); the same norm is
    applied to both. Within `strips.large_pictures`, of a context with more than `MAX_KEYS` positions every second one
    in both directions is attended to, or every third, and so on: time grows with the product of both, and a softmax
    over a sample of them is close to that over all (closer than one over means of neighbours).
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
        source = normed if context is None else self.norm(context)
        if saves_memory():
            source = _thinned(source)
        keys = _tokens(source)
        q, k, v = _linear(self.q, _tokens(normed)), _linear(self.k, keys), _linear(self.v, keys)
        h = _linear(self.proj_out, _attended(q, k, v)).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + h if self.residual else h


def _attended(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """softmax(q kᵀ / √c) v, one head; q: `(b, n, c)`, k and v: `(b, m, c)`."""
    if q.device.type == "cpu" and q.dtype == torch.bfloat16 and q.shape[1] * k.shape[1] <= MAX_WEIGHTS:
        weights = (q @ k.mT * q.shape[2] ** -0.5).softmax(2)
        return weights.to(q.dtype) @ v
    return F.scaled_dot_product_attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1)).squeeze(1)


def _tokens(x: Tensor) -> Tensor:
    """`(b, c, h, w)` to `(b, h·w, c)`: the same memory where the channels lie last."""
    return x.flatten(2).transpose(1, 2).contiguous()


def _linear(conv: nn.Conv2d, tokens: Tensor) -> Tensor:
    """A 1 × 1 convolution of tokens `(b, n, c)`: one matrix product, faster than a convolution, above all backward."""
    return F.linear(tokens, conv.weight.flatten(1), conv.bias)


def _thinned(x: Tensor) -> Tensor:
    """`(b, c, h, w)`, or every s-th position in both directions, s the least that leaves `MAX_KEYS`."""
    step = 1
    while -(-x.shape[2] // step) * -(-x.shape[3] // step) > MAX_KEYS:
        step += 1
    return x[:, :, ::step, ::step]


class Downsample(nn.Module):
    """Halves the sides: one zero on the right and below, then a 3 × 3 convolution with stride 2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if is_large(x, self.conv.out_channels):
            return in_strips(self._convolve, x, self.conv.out_channels, scale=0.5)
        return self._convolve(x)

    def _convolve(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Doubles the sides: nearest neighbour, then a 3 × 3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        if is_large(x, self.conv.out_channels, scale=2.0):
            return in_strips(self._convolve, x, self.conv.out_channels, scale=2.0)
        return self._convolve(x)

    def _convolve(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class MiddleBlock(nn.Module):
    """Residual block, attention, residual block at the lowest resolution; a large input is overwritten."""

    def __init__(self, channels: int, dropout: float) -> None:
        super().__init__()
        self.block_1 = ResnetBlock(channels, dropout=dropout)
        self.attn_1 = AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, dropout=dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, overwrite=True)), overwrite=True)


class ChannelsLastConv(nn.Conv2d):
    """A convolution whose answer lies channels last in memory, which what follows it keeps: faster than the default."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.contiguous(memory_format=torch.channels_last))


class Entry(ChannelsLastConv):
    """A 3 × 3 convolution, from pictures to maps."""

    def forward(self, x: Tensor) -> Tensor:
        if is_large(x, self.out_channels):
            return in_strips(super().forward, x, self.out_channels)
        return super().forward(x)

    @torch.no_grad()
    def amplify_colour(self, gain: float) -> None:
        """Make the weights answer `gain` times as much to red against blue, and gain² to green against both.

        Brightness stays as it is. These axes are close to the principal ones of natural pictures' colours, whose
        deviations fall by about such a factor from one to the next (Ohta et al., 1980).
        """
        if gain == 1.0:
            return
        axes = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]], device=self.weight.device)
        axes /= axes.norm(dim=1, keepdim=True)
        gains = torch.tensor([1.0, gain, gain**2], device=self.weight.device)
        self.weight.copy_(torch.einsum("oikl,ij->ojkl", self.weight, axes.T * gains @ axes))


class Level(nn.Module):
    """The blocks of one resolution of the encoder or the decoder; each is followed by attention where it is placed.

    A large input is overwritten.

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
            x = block(x, overwrite=True)
            if len(self.attn):
                x = self.attn[i](x)
        return x
