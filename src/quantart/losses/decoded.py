"""Loss of stage 2 on decoded pictures instead of latents."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.distributed import all_rows, rank
from quantart.components.precision import full_precision
from quantart.losses.adversarial import Logs, detached
from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import all_distances, gram_matrix, relative_distance

TEMPERATURE = 0.1
"""Of the softmax over negative Gram distances: a difference of this size makes one style e times as likely."""


class DecodedLoss(nn.Module):
    """gram_weight · Gram + perceptual_weight · perceptual distance to the content + contrast_weight · contrast.

    Gram is the `relative_distance` to the style of the Gram matrices of `network`'s layers (Gatys et al., CVPR 2016).
    Contrast is the cross-entropy of a softmax over the negative distances to all styles of the joint batch, where the
    output's own style is the positive (InfoNCE, van den Oord et al., 2018). Other crops of the same painting are not
    used as negatives.
    """

    def __init__(
        self, network: LPIPS, *, gram_weight: float = 0.0, perceptual_weight: float = 0.0, contrast_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.network = network
        self.gram_weight = gram_weight
        self.perceptual_weight = perceptual_weight
        self.contrast_weight = contrast_weight

    def targets(self, pictures: Tensor) -> list[Tensor]:
        """Features of pictures `(b, 3, h, w)` in [-1, 1], at least 32 wide."""
        return [full_precision(layer) for layer in self.network.features(pictures)]

    def forward(
        self, output: Tensor, content: list[Tensor] | None, style: list[Tensor], painting: Tensor | None = None
    ) -> tuple[Tensor, Logs]:
        """Loss of pictures `(b, 3, h, w)` in [-1, 1] against `targets` of content and style, and what to log.

        Args:
            painting: `(b,)` int64, the painting that each style shows; None: all are different.
        """
        features = self.targets(output)
        with torch.autocast(output.device.type, enabled=False):  # the distances are small differences of large numbers
            return self._of_features(features, content, style, painting)

    def _of_features(
        self, features: list[Tensor], content: list[Tensor] | None, style: list[Tensor], painting: Tensor | None
    ) -> tuple[Tensor, Logs]:
        grams, style_grams = ([gram_matrix(layer) for layer in each] for each in (features, style))
        gram = relative_distance(grams, style_grams).mean()
        total, logs = self.gram_weight * gram, {"gram_loss": gram}
        if self.contrast_weight:
            contrast = _contrast(grams, style_grams, painting)
            total, logs = total + self.contrast_weight * contrast, logs | {"contrast_loss": contrast}
        if content is not None:
            perceptual = self.network.distance(content, features).mean()
            total, logs = total + self.perceptual_weight * perceptual, logs | {"perceptual_loss": perceptual}
        return total, detached(logs)


def _contrast(grams: list[Tensor], style_grams: list[Tensor], painting: Tensor | None) -> Tensor:
    distances = all_distances(grams, [all_rows(layer) for layer in style_grams])
    own = rank() * len(distances) + torch.arange(len(distances), device=distances.device)
    logits = -distances / TEMPERATURE
    if painting is not None:
        same = painting[:, None] == all_rows(painting)
        same[torch.arange(len(own), device=own.device), own] = False
        logits = logits.masked_fill(same, -torch.inf)
    return F.cross_entropy(logits, own)
