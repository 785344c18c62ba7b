"""Large pictures through the encoder and the decoder with little memory: each layer in strips of rows, exactly.

The strips of a layer overlap by as many rows as its convolutions reach, and group normalisation uses the mean and
variance of the whole map, which is gathered first. So the result is the plain network's up to float32's rounding, and
there are no seams to hide. Where a residual block may overwrite its own input, only one map is held; it then computes
three convolutions instead of two. Maps beyond `FULL_PRECISION` elements are held in bfloat16, which rounds them once
per layer. The lean encoder and decoder have no norm, so each runs as a whole on strips
that overlap by as many codes as it reaches.

Attention saves memory and time in another way: beyond `MAX_KEYS` positions it attends to every second position in both
directions, or every third, and so on. A softmax over such a sample is close to one over all positions (closer than one
over means of neighbours).

Only networks given to `allow_large_pictures` do any of this, and only in evaluation mode without gradients.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.autoencoder import Decoder, DecoderLevel, Encoder, EncoderLevel
from quantart.components.blocks import (
    AttnBlock,
    ChannelsLastConv,
    Downsample,
    Level,
    MiddleBlock,
    ResnetBlock,
    Upsample,
)
from quantart.components.lean_autoencoder import LeanDecoder, LeanEncoder

PLAIN = 2**25
"""Elements of one picture's map up to which a layer runs as a whole; 128 MiB in float32, of which it holds several."""
FULL_PRECISION = 2**26
"""Elements of one picture's map up to which it is held in float32; 256 MiB."""
STRIP = 2**23
"""Elements of the map in one strip, about."""
REACH = 2
"""Rows beyond a strip that any layer of the reference looks at; even, since a level may halve them."""
MAX_KEYS = 2**14
"""Positions, 128 × 128, up to which attention sees all of them."""

Layer = Callable[[Tensor], Tensor]


def allow_large_pictures(network: nn.Module) -> None:
    """From now on the network saves memory on large pictures. Its weights stay, and so does its output on others."""
    for module in network.modules():
        module.__class__ = _FRUGAL.get(type(module), type(module))
        if isinstance(module, Encoder):
            module.conv_in.__class__ = _FrugalEntry


def is_large(x: Tensor, channels: int, scale: float = 1.0) -> bool:
    """Whether a layer whose output has `channels` and `scale` times the sides of `x` should run in strips.

    The number of pictures in `x` `(b, c, h, w)` does not count, so that no picture depends on the others.
    """
    largest = max(x.shape[1], channels * scale**2) * x.shape[2] * x.shape[3]
    return not torch.is_grad_enabled() and largest > PLAIN


class _FrugalEntry(ChannelsLastConv):
    def forward(self, x: Tensor) -> Tensor:
        return _whole_or_in_strips(super().forward, x, self.out_channels)


class _FrugalDownsample(Downsample):
    def forward(self, x: Tensor) -> Tensor:
        return _whole_or_in_strips(super().forward, x, self.conv.out_channels, 0.5)


class _FrugalUpsample(Upsample):
    def forward(self, x: Tensor) -> Tensor:
        return _whole_or_in_strips(super().forward, x, self.conv.out_channels, 2.0)


class _FrugalResnetBlock(ResnetBlock):
    def forward(self, x: Tensor, overwrite: bool = False) -> Tensor:
        """overwrite: a large `x` may be overwritten, which is done if the output has as many channels."""
        channels = self.conv2.out_channels
        if self.training or not is_large(x, channels):
            return super().forward(x)
        norm_1 = _norm_swish(self.norm1, x)
        norm_2 = _norm_swish(self.norm2, x, before=lambda strip: self.conv1(norm_1(strip)))

        def whole(strip: Tensor) -> Tensor:
            return self.nin_shortcut(strip) + self.conv2(norm_2(self.conv1(norm_1(strip))))

        return _write(x, x, whole) if overwrite and channels == x.shape[1] else in_strips(whole, x, channels)


class _FrugalAttnBlock(AttnBlock):
    def attend(self, normed: Tensor, source: Tensor) -> Tensor:
        return super().attend(normed, source if torch.is_grad_enabled() else _thinned(source))


class _FrugalMiddleBlock(MiddleBlock):
    def forward(self, x: Tensor) -> Tensor:
        return self.block_2(self.attn_1(self.block_1(x, overwrite=True)), overwrite=True)


class _FrugalLevel(Level):
    def forward(self, x: Tensor) -> Tensor:
        for i, block in enumerate(self.block):
            x = block(x, overwrite=True)
            if len(self.attn):
                x = self.attn[i](x)
        return x


class _FrugalEncoderLevel(_FrugalLevel, EncoderLevel):
    pass


class _FrugalDecoderLevel(_FrugalLevel, DecoderLevel):
    pass


class _FrugalDecoder(Decoder):
    def to_pixels(self, h: Tensor) -> Tensor:
        channels = self.conv_out.out_channels
        if not is_large(h, channels):
            return super().to_pixels(h)
        norm = _norm_swish(self.norm_out, h)
        return in_strips(lambda strip: self.conv_out(norm(strip)), h, channels)


class _FrugalLeanEncoder(LeanEncoder):
    def forward(self, x: Tensor) -> Tensor:
        widest, finest = self.conv_in.out_channels, 1.0 / self.patch
        if not is_large(x, widest, finest):
            return super().forward(x)
        reach = int(self.reach / self.scale)
        return in_strips(super().forward, x, self.conv_out.out_channels, self.scale, reach, widest * finest**2)


class _FrugalLeanDecoder(LeanDecoder):
    def forward(self, z: Tensor) -> Tensor:
        widest, finest = self.conv_out.in_channels, self.scale / self.patch
        if not is_large(z, widest, finest):
            return super().forward(z)
        return in_strips(super().forward, z, 3, self.scale, self.reach, widest * finest**2)


_FRUGAL: dict[type[nn.Module], type[nn.Module]] = {
    AttnBlock: _FrugalAttnBlock,
    Decoder: _FrugalDecoder,
    DecoderLevel: _FrugalDecoderLevel,
    Downsample: _FrugalDownsample,
    EncoderLevel: _FrugalEncoderLevel,
    LeanDecoder: _FrugalLeanDecoder,
    LeanEncoder: _FrugalLeanEncoder,
    MiddleBlock: _FrugalMiddleBlock,
    ResnetBlock: _FrugalResnetBlock,
    Upsample: _FrugalUpsample,
}


def _whole_or_in_strips(layer: Layer, x: Tensor, channels: int, scale: float = 1.0) -> Tensor:
    return in_strips(layer, x, channels, scale) if is_large(x, channels, scale) else layer(x)


def in_strips(
    layer: Layer, x: Tensor, channels: int, scale: float = 1.0, reach: int = REACH, widest: float = 0.0
) -> Tensor:
    """`layer(x)` strip after strip.

    Args:
        x: `(b, c, h, w)`; scale · h is whole.
        channels, scale: of the output, `(b, channels, scale · h, scale · w)`.
        reach: rows beyond a strip that the layer looks at, at most; scale · reach is whole.
        widest: elements of the layer's largest map for each position of `x`, where that is more than in and output.
    """
    shape = (x.shape[0], channels, int(x.shape[2] * scale), int(x.shape[3] * scale))
    full_precision = torch.Size(shape[1:]).numel() <= FULL_PRECISION
    out = x.new_empty(shape, dtype=torch.float32 if full_precision else torch.bfloat16)
    return _write(out, x, layer, scale, reach, widest)


def _write(out: Tensor, x: Tensor, layer: Layer, scale: float = 1.0, reach: int = REACH, widest: float = 0.0) -> Tensor:
    """Fill `out`, which may be `x` itself."""
    row = 0
    for strip in _strips(x, layer, max(widest, out.shape[1] * scale**2), scale, reach):
        out[:, :, row : row + strip.shape[2]] = strip
        row += strip.shape[2]
    return out


def _strips(x: Tensor, layer: Layer, widest: float, scale: float = 1.0, reach: int = REACH) -> Iterator[Tensor]:
    """The rows of `layer(x)`, from the top. Rows of `x` may be overwritten once their strip is there."""
    height = x.shape[2]
    # the larger of input and output: a picture's 3 channels become many
    row = x.shape[0] * x.shape[3] * max(x.shape[1], widest)
    rows = max(2 * reach, int(STRIP // row) // reach * reach)
    above = x[:, :, :0]
    for start in range(0, height, rows):
        end = min(start + rows, height)
        seen = torch.cat([above, x[:, :, start : end + reach]], 2).float()
        skipped = int(above.shape[2] * scale)
        above = x[:, :, end - min(reach, end) : end].clone()
        yield layer(seen)[:, :, skipped : skipped + int((end - start) * scale)]


def _norm_swish(norm: nn.GroupNorm, x: Tensor, before: Layer = lambda strip: strip) -> Layer:
    """swish(norm(h)) with the statistics of the whole h = before(x), as a function of strips of h."""
    batch, groups = x.shape[0], norm.num_groups
    count, mean, squares = 0, torch.zeros(batch, groups), torch.zeros(batch, groups)
    mean, squares = (part.to(x.device, torch.float64) for part in (mean, squares))
    for strip in _strips(x, before, norm.num_channels):
        values = strip.float().reshape(batch, groups, -1)
        variance, centre = torch.var_mean(values, 2, correction=0)
        # moments of two parts to those of both (Chan, Golub & LeVeque, 1979)
        added = values.shape[2]
        apart = centre.double() - mean
        squares += variance.double() * added + apart.square() * count * added / (count + added)
        mean += apart * added / (count + added)
        count += added
    deviation = (squares / count + norm.eps).sqrt()
    per_group = norm.num_channels // groups
    scale = norm.weight / deviation.repeat_interleave(per_group, 1)
    shift = norm.bias - mean.repeat_interleave(per_group, 1) * scale
    scale, shift = (part.float()[:, :, None, None] for part in (scale, shift))
    return lambda strip: F.silu(torch.addcmul(shift, strip.float(), scale), inplace=True)


def _thinned(x: Tensor) -> Tensor:
    """`(b, c, h, w)`, or every s-th position in both directions, with the smallest s that leaves `MAX_KEYS`."""
    step = 1
    while -(-x.shape[2] // step) * -(-x.shape[3] // step) > MAX_KEYS:
        step += 1
    return x[:, :, ::step, ::step]
