"""A style transfer network that paints: content and style pass through the same convolutions.

At every normalisation the content's features take the mean and the standard deviation of the style's features there, as
in AdaIN (Huang & Belongie, ICCV 2017), so that there is nothing to learn for a new style. At some of them these are
attention-weighted, so that each place takes on the brushwork of similar places in the painting (AdaAttN, Liu et al.,
ICCV 2021). Noise gives flat areas something to make strokes of. Half of the network works at half the resolution of the
codes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.distributed import all_rows, own_rows, world_size
from quantart.components.precision import full_precision

KEYS = 64  # channels in which places of content and style are compared
TILE = 64  # side of the noise that is repeated over a picture
MOMENTUM = 0.01  # of the running statistics of style features: of 100 batches, a mean of few paintings costs texture
EPSILON = 1e-4


class StyleFeatures(NamedTuple):
    """What the content takes from the style at one normalisation."""

    mean: Tensor
    """`(b, c, 1, 1)`, over space."""
    deviation: Tensor
    """`(b, c, 1, 1)`, over space."""
    keys: Tensor | None = None
    """`(b, KEYS, n)`, of the n places that the content attends to."""
    values: Tensor | None = None
    """`(b, n, 2c)`: mean and mean square of the features at these places."""


class PaintingFeatures(NamedTuple):
    """All that the content takes from the style, whatever the content is."""

    mean: Tensor
    """`(b, c, 1, 1)`, of the style's latents over space."""
    deviation: Tensor
    """`(b, c, 1, 1)`, of the style's latents over space."""
    sites: tuple[StyleFeatures, ...]
    """of each normalisation, in the order of the network."""

    @property
    def nbytes(self) -> int:
        tensors = (self.mean, self.deviation, *(each for site in self.sites for each in site if each is not None))
        return sum(each.nbytes for each in tensors)


class StyledNorm(nn.Module):
    """Instance normalisation that gives content features the statistics of style features, then SiLU.

    Before SiLU, content and style features are scaled by the running statistics; the network has no other
    normalisation.

    Args:
        attention: mix the style's statistics with attention-weighted ones, for each place of the content.
    """

    def __init__(self, channels: int, attention: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.batches: Tensor
        self.register_buffer("running_mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("running_var", torch.ones(1, channels, 1, 1))
        self.register_buffer("batches", torch.zeros((), dtype=torch.long))
        self.query = nn.Conv2d(channels, KEYS, 1) if attention else None
        if attention:
            self.key = nn.Conv2d(channels, KEYS, 1)
            self.share = nn.Parameter(torch.zeros(1, channels, 1, 1))
            self.temperature = nn.Parameter(torch.tensor(2.0))

    def style_features(self, style: Tensor) -> StyleFeatures:
        """Of the style's features `(b, c, h, w)`; in training those of all processes enter the running statistics."""
        style = full_precision(style)
        mean, deviation = _statistics(style)
        if self.training:
            self._observe(*all_rows(torch.cat([mean, deviation], 1)).chunk(2, 1))
        if self.query is None:
            return StyleFeatures(mean, deviation)
        places = F.avg_pool2d(style, 2, ceil_mode=True)
        squares = F.avg_pool2d(style.square(), 2, ceil_mode=True)
        keys = F.normalize(full_precision(self.key((places - mean) / deviation)).flatten(2), dim=1)
        return StyleFeatures(mean, deviation, keys, torch.cat([places, squares], 1).flatten(2).mT)

    def forward(self, content: Tensor, style: StyleFeatures) -> Tensor:
        """Content features `(b, c, h, w)` with the style's statistics."""
        mean, deviation = style.mean, style.deviation
        if self.query is None or style.keys is None or style.values is None:
            # standardised(content) * deviation + mean, as one factor and one shift: a single pass over memory
            own, spread = _statistics(content)
            factor = deviation / spread
            return self.activate(content, factor, mean - own * factor)
        normal = standardised(content)
        queries = F.normalize(full_precision(self.query(normal)).flatten(2), dim=1)
        with torch.autocast(content.device.type, enabled=False):  # a variance is a difference of large numbers
            attention = (queries.mT @ style.keys * self.temperature.exp()).softmax(2)  # (b, h·w, n)
            local, squares = (attention @ style.values).mT.unflatten(2, content.shape[2:]).chunk(2, 1)
        share = self.share.sigmoid()
        mean = torch.lerp(mean, local, share)
        deviation = torch.lerp(deviation, (squares - local.square()).clamp_min(EPSILON).sqrt(), share)
        return self.activate(normal, deviation, mean).to(content.dtype)

    def activate(self, features: Tensor, factor: Tensor | float = 1.0, shift: Tensor | float = 0.0) -> Tensor:
        """SiLU of `factor` · features + `shift`, standardised by running statistics, with a learned scale and shift.

        The sum is computed in float32; the result `(b, c, h, w)` has the features' type.
        """
        scale = self.weight / (self.running_var + EPSILON).sqrt()
        offset = self.bias + (shift - self.running_mean) * scale
        return F.silu(torch.addcmul(offset, full_precision(features), factor * scale).to(features.dtype))

    @torch.no_grad()
    def _observe(self, mean: Tensor, deviation: Tensor) -> None:
        self.batches += 1
        momentum = (1.0 / self.batches).clamp_min(MOMENTUM)
        self.running_mean += momentum * (mean.mean(0, keepdim=True) - self.running_mean)
        spread = (deviation.square() + (mean - self.running_mean).square()).mean(0, keepdim=True)
        self.running_var += momentum * (spread - self.running_var)


Site = Callable[[StyledNorm, Tensor], Tensor]
"""What a walk does at a normalisation: in the style's walk note its features, in the content's apply them, in the same
order."""


class TwinBlock(nn.Module):
    """Pre-activation residual block; noise enters between its convolutions."""

    def __init__(self, channels: int, attention: bool = False) -> None:
        super().__init__()
        self.norm1 = StyledNorm(channels, attention)
        self.conv1 = _conv(channels, channels, 2.0**0.5)
        self.norm2 = StyledNorm(channels)
        self.conv2 = _conv(channels, channels, 0.5**0.5)
        self.noise = nn.Parameter(0.2 * torch.randn(1, channels, 1, 1))
        self.tile: Tensor
        self.register_buffer("tile", torch.randn(1, 1, TILE, TILE))

    def forward(self, x: Tensor, site: Site, noisy: bool) -> Tensor:
        h = self.conv1(site(self.norm1, x))
        if noisy:
            h = h + self.noise.to(h.dtype) * self._noise(h)
        return x + self.conv2(site(self.norm2, h))

    def _noise(self, h: Tensor) -> Tensor:
        """New in training, drawn for all processes together; else always the same, so that a picture has one answer."""
        height, width = h.shape[2:]
        if self.training:
            joint = len(h) * world_size()
            return own_rows(torch.randn(joint, 1, height, width, device=h.device, dtype=h.dtype))
        tiled = self.tile.repeat(1, 1, -(-height // TILE), -(-width // TILE))
        return tiled[:, :, :height, :width].to(h.dtype)


class TwinTransferModule(nn.Module):
    """Maps content latents to style latents: AdaIN of the content plus what the network adds to it.

    Args:
        channels: of content and style.
        width: channels at the resolution of the codes; half as many again at half that resolution.
        coarse_blocks: residual blocks at half the resolution; every second one attends to the style.
        fine_blocks: residual blocks at the resolution of the codes.
    """

    def __init__(self, channels: int, width: int = 64, coarse_blocks: int = 4, fine_blocks: int = 3) -> None:
        super().__init__()
        coarse = width * 3 // 2
        self.mean: Tensor
        self.deviation: Tensor
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("deviation", torch.ones(1, channels, 1, 1))
        self.conv_in = nn.Conv2d(channels, width, 3, padding=1, padding_mode="replicate")
        self.norm_down = StyledNorm(width)
        self.down = nn.Conv2d(width, coarse, 4, stride=2, padding=1, padding_mode="replicate")
        self.coarse = nn.ModuleList(TwinBlock(coarse, attention=i % 2 == 1) for i in range(coarse_blocks))
        self.norm_up = StyledNorm(coarse)
        self.up = nn.Conv2d(coarse, width, 1)
        self.fine = nn.ModuleList(TwinBlock(width) for _ in range(fine_blocks))
        self.norm_out = StyledNorm(width)
        self.conv_out = _conv(width, channels, 0.0)

    def standardise(self, style: Tensor) -> None:
        """Take the statistics of the latents `(n, c, h, w)` of paintings, by which all latents are standardised."""
        deviation, mean = torch.std_mean(style, (0, 2, 3), keepdim=True)
        self.mean.copy_(mean)
        self.deviation.copy_(deviation)

    def style_features(self, style: Tensor) -> PaintingFeatures:
        """What `forward` takes in place of the style's latents `(b, c, h, w)`: half of its work, for any content."""
        features: list[StyleFeatures] = []

        def style_site(norm: StyledNorm, h: Tensor) -> Tensor:
            features.append(norm.style_features(h))
            return norm.activate(h)

        self._walk(style, style_site, noisy=False)
        return PaintingFeatures(*_statistics(style), tuple(features))

    def forward(self, content: Tensor, style: Tensor | PaintingFeatures) -> Tensor:
        """content: `(b, c, h, w)`; style: `(b, c, h2, w2)`, or its `style_features`; both at least 2 × 2.

        Returns:
            `(b, c, h, w)`, not quantised.
        """
        mean, deviation, sites = self.style_features(style) if isinstance(style, Tensor) else style
        taken = iter(sites)
        start = standardised(content) * deviation + mean
        added = self._walk(start, lambda norm, h: norm(h, next(taken)), noisy=True)
        return start + full_precision(added) * deviation

    def _walk(self, z: Tensor, site: Site, noisy: bool) -> Tensor:
        z = ((z - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)
        fine = self.conv_in(z)
        h = self.down(site(self.norm_down, fine))
        for block in self.coarse:
            h = block(h, site, noisy)
        h = self.up(site(self.norm_up, h))
        h = fine + F.interpolate(h, size=fine.shape[2:], mode="bilinear")
        for block in self.fine:
            h = block(h, site, noisy)
        return self.conv_out(site(self.norm_out, h))


def _conv(channels: int, out_channels: int, gain: float) -> nn.Conv2d:
    """A 3 × 3 convolution whose output has `gain` times the deviation of its input at first, and no bias."""
    conv = nn.Conv2d(channels, out_channels, 3, padding=1, padding_mode="replicate")
    nn.init.normal_(conv.weight, std=gain / (9 * channels) ** 0.5)
    nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    return conv


def standardised(features: Tensor) -> Tensor:
    """`(b, c, h, w)` with mean 0 and deviation 1 over space for each channel, in float32."""
    features = full_precision(features)
    mean, deviation = _statistics(features)
    return (features - mean) / deviation


def _statistics(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation over space, both `(b, c, 1, 1)` in float32."""
    features = full_precision(features)
    mean, square = features.mean((2, 3), keepdim=True), features.square().mean((2, 3), keepdim=True)
    return mean, ((square - mean.square()).clamp_min(0.0) + EPSILON).sqrt()
