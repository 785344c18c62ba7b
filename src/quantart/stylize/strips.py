"""Large pictures through the encoder and the decoder with little memory: each layer in strips of rows, exactly.

A layer's strips overlap by as many rows as its convolutions reach, and group normalisation uses the mean and variance
of the whole map, which is gathered first. So the result is the plain network's to float32's rounding, without seams to
hide. Where a residual block may write into its own input, one map alone is held; it computes three convolutions in
place of two. Maps beyond `FULL_PRECISION` elements are held in bfloat16, which rounds them once per layer; all
computation is in float32.

Layers do so, and attention saves memory in its own way, only within `large_pictures`: what is trained,
encoded and evaluated is the plain network's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PLAIN = 2**25
"""Elements of one picture's map up to which a layer runs as a whole; 128 MiB in float32, of which it holds several."""
FULL_PRECISION = 2**26
"""Elements of one picture's map up to which it is held in float32; 256 MiB."""
STRIP = 2**23
"""Elements of the map in one strip, about."""
REACH = 2
"""Rows beyond a strip that any layer here looks at; even, since a level may halve them."""

Layer = Callable[[Tensor], Tensor]


_large_pictures: ContextVar[bool] = ContextVar("large_pictures", default=False)


@contextmanager
def large_pictures() -> Iterator[None]:
    """Within it networks in evaluation mode, without gradients, save memory; in this thread (context) alone."""
    token = _large_pictures.set(True)
    try:
        yield
    finally:
        _large_pictures.reset(token)


def saves_memory() -> bool:
    """Whether a layer may save memory at the cost of time and of rounding; never where gradients are wanted."""
    return _large_pictures.get() and not torch.is_grad_enabled()


def is_large(x: Tensor, channels: int, scale: float = 1.0) -> bool:
    """Whether a layer that answers `channels` at `scale` times the sides of `x` `(b, c, h, w)` should run in strips.

    However many pictures there are, so that none depends on the others.
    """
    return saves_memory() and max(x.shape[1], channels * scale**2) * x.shape[2] * x.shape[3] > PLAIN


def in_strips(layer: Layer, x: Tensor, channels: int, scale: float = 1.0) -> Tensor:
    """`layer(x)` for a layer of one convolution, strip after strip.

    Args:
        x: `(b, c, h, w)`, with an even h where `scale` is 0.5.
        channels, scale: of the answer, `(b, channels, scale · h, scale · w)`.
    """
    shape = (x.shape[0], channels, int(x.shape[2] * scale), int(x.shape[3] * scale))
    out = x.new_empty(shape, dtype=_stored_as(shape))
    return _write(out, x, layer, scale)


def residual_in_strips(
    norm_1: nn.GroupNorm,
    first: Layer,
    norm_2: nn.GroupNorm,
    second: Layer,
    shortcut: Layer,
    x: Tensor,
    overwrite: bool,
) -> Tensor:
    """shortcut(x) + second(norm_2(first(norm_1(x)))), where both norms end in swish.

    Args:
        first, second: one convolution each.
        shortcut: of one pixel.
        x: `(b, c, h, w)`.
        overwrite: the answer may be written into `x`, which is done where it has as many channels.
    """
    norm_1_whole = _of_whole(norm_1, x, lambda strip: strip)

    def half(strip: Tensor) -> Tensor:
        return first(F.silu(norm_1_whole(strip), inplace=True))

    norm_2_whole = _of_whole(norm_2, x, half)

    def whole(strip: Tensor) -> Tensor:
        return shortcut(strip) + second(F.silu(norm_2_whole(half(strip)), inplace=True))

    channels = norm_2.num_channels
    return _write(x, x, whole) if overwrite and channels == x.shape[1] else in_strips(whole, x, channels)


def normed_in_strips(norm: nn.GroupNorm, layer: Layer, x: Tensor, channels: int) -> Tensor:
    """layer(swish(norm(x))) for a layer of one convolution that answers `channels`."""
    whole = _of_whole(norm, x, lambda strip: strip)
    return in_strips(lambda strip: layer(F.silu(whole(strip), inplace=True)), x, channels)


def _stored_as(shape: tuple[int, ...]) -> torch.dtype:
    return torch.float32 if torch.Size(shape[1:]).numel() <= FULL_PRECISION else torch.bfloat16


def _write(out: Tensor, x: Tensor, layer: Layer, scale: float = 1.0) -> Tensor:
    """Fill `out`, which may be `x` itself."""
    row = 0
    for strip in _strips(x, layer, out.shape[1], scale):
        out[:, :, row : row + strip.shape[2]] = strip
        row += strip.shape[2]
    return out


def _strips(x: Tensor, layer: Layer, channels: int, scale: float = 1.0) -> Iterator[Tensor]:
    """The rows of `layer(x)`, of `channels`, from the top; rows of `x` may be overwritten once their strip is there."""
    height = x.shape[2]
    # whichever is larger, what goes in or what comes out: a picture's 3 channels become many
    row = x.shape[0] * x.shape[3] * max(x.shape[1], channels * scale**2)
    rows = max(2 * REACH, int(STRIP // row) // 2 * 2)
    above = x[:, :, :0]
    for start in range(0, height, rows):
        end = min(start + rows, height)
        seen = torch.cat([above, x[:, :, start : end + REACH]], 2).float()
        skipped = int(above.shape[2] * scale)
        above = x[:, :, end - min(REACH, end) : end].clone()
        yield layer(seen)[:, :, skipped : skipped + int((end - start) * scale)]


def _of_whole(norm: nn.GroupNorm, x: Tensor, layer: Layer) -> Layer:
    """`norm` with the statistics of all of `layer(x)`, as a function of its strips."""
    batch, groups = x.shape[0], norm.num_groups
    count, mean, squares = 0, torch.zeros(batch, groups), torch.zeros(batch, groups)
    mean, squares = (part.to(x.device, torch.float64) for part in (mean, squares))
    for strip in _strips(x, layer, norm.num_channels):
        values = strip.float().reshape(batch, groups, -1)
        variance, centre = torch.var_mean(values, 2, correction=0)
        # Chan, Golub & LeVeque (1979): moments of two parts to those of both
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
    return lambda strip: torch.addcmul(shift, strip.float(), scale)
