"""The loss of `stage2.objective: painting`, on pictures: a painting's hand and colours, a photograph's scene."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.precision import full_precision
from quantart.losses.colour import WHITE_TO_BLACK, to_lab
from quantart.losses.logs import Logs, detached
from quantart.losses.lpips import LPIPS
from quantart.losses.spectrum import spectrum, spectrum_loss
from quantart.losses.statistics import Channels, channels, moments, relative_distance
from quantart.vocabulary.names import PerceptualNetworkName

LAYERS = 4
"""How many of the network's compared layers describe a hand."""
SCENE = LAYERS // 2
"""Index of the first layer that is also compared with the photograph."""


class Hand(NamedTuple):
    """Statistics of a painting, each per layer but `colours` and `spectrum`."""

    texture: list[Tensor]
    """`(b, c, c)` correlations of channels over space."""
    coarse_texture: list[Tensor]
    """The same of the picture at half its size."""
    moments: list[Tensor]
    """`(b, 2c)` means and standard deviations of channels."""
    colours: Tensor
    """`(b, 6)` means and standard deviations of CIELAB."""
    spectrum: Tensor
    """`(b, n)` of the brightness."""


class PaintingLoss(nn.Module):
    """A weighted sum of distances of decoded pictures, on the first layers of a network trained on ImageNet.

    Texture is the `relative_distance` of the correlations of channels to the painting's: a Gram matrix (Gatys et al.,
    CVPR 2016) of channels that are standardised over space, so that no change of colour or contrast satisfies it.
    Content is the mean squared difference of these standardised channels to the photograph's. All of it is in float32,
    also under autocast: the distances are small differences of large numbers.

    Args:
        weights: by the names of `PAINTING_WEIGHTS`: `texture_weight` of the texture at full size and
            `coarse_texture_weight` at half the size, `moments_weight` of the `relative_distance` of channel means and
            deviations to the painting's, `colour_weight` of the mean absolute difference of CIELAB means and
            deviations (from black to white being 1), `spectrum_weight` of the difference of the `spectrum`s,
            `content_weight` of the content, `codebook_weight` of the codebook loss.
    """

    def __init__(self, weights: Mapping[str, float], network: PerceptualNetworkName = "squeezenet1_1") -> None:
        super().__init__()
        self.network = LPIPS(network, layers=LAYERS)
        self.weights = weights

    def hand(self, pictures: Tensor) -> Hand:
        """Statistics of pictures `(b, 3, h, w)` in [-1, 1], at least 64 wide."""
        with _float32(pictures):
            return self._hand(pictures, [channels(layer) for layer in self._features(pictures)])

    def scene(self, pictures: Tensor) -> list[Tensor]:
        """Standardised features of pictures `(b, 3, h, w)` in [-1, 1]."""
        with _float32(pictures):
            return [channels(layer).standardise(layer) for layer in self._features(pictures)[SCENE:]]

    def forward(
        self, output: Tensor, scene: list[Tensor], hand: Hand, codebook_loss: Tensor | None = None
    ) -> tuple[Tensor, Logs]:
        """Loss of pictures `(b, 3, h, w)` in [-1, 1] against a `scene` and a `hand`, and what to log.

        Args:
            codebook_loss: 0-d, of the latents that the pictures were decoded from; None: they are not held near codes.
        """
        with _float32(output):
            features = self._features(output)
            statistics = [channels(layer) for layer in features]
            own = self._hand(output, statistics)
            layers = zip(features[SCENE:], statistics[SCENE:], scene, strict=True)
            apart = [F.mse_loss(own_layer.standardise(layer), theirs) for layer, own_layer, theirs in layers]
            losses = {
                "texture_loss": relative_distance(own.texture, hand.texture, least=1.0).mean(),
                "coarse_texture_loss": relative_distance(own.coarse_texture, hand.coarse_texture, least=1.0).mean(),
                "moments_loss": relative_distance(own.moments, hand.moments).mean(),
                "colour_loss": (own.colours - hand.colours).abs().mean() / WHITE_TO_BLACK,
                "spectrum_loss": spectrum_loss(own.spectrum, hand.spectrum),
                "content_loss": torch.stack(apart).mean(),
            }
            weighted = [self.weights[name.replace("_loss", "_weight")] * loss for name, loss in losses.items()]
            total = torch.stack(weighted).sum()
        if codebook_loss is not None:
            total = total + self.weights["codebook_weight"] * codebook_loss
            losses["codebook_loss"] = codebook_loss
        return total, detached(losses)

    def _features(self, pictures: Tensor) -> list[Tensor]:
        return self.network.features(full_precision(pictures))

    def _hand(self, pictures: Tensor, statistics: list[Channels]) -> Hand:
        coarse = self._features(F.avg_pool2d(full_precision(pictures), 2))
        return Hand(
            [layer.correlations for layer in statistics],
            [channels(layer).correlations for layer in coarse],
            [layer.moments for layer in statistics],
            moments(to_lab(pictures)),
            spectrum(pictures),
        )


def _float32(pictures: Tensor) -> torch.autocast:
    return torch.autocast(pictures.device.type, enabled=False)
