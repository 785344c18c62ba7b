"""Loss of stage 2 on decoded pictures: style and content where they are seen, not in the latents."""

from __future__ import annotations

from torch import Tensor, nn

from quantart.components.precision import full_precision
from quantart.losses.adversarial import Logs, detached
from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import gram_matrix, relative_distance


class DecodedLoss(nn.Module):
    """gram_weight · Gram distance to the style + perceptual_weight · perceptual distance to the content.

    The Gram distance is `relative_distance` of the Gram matrices of `network`'s layers (Gatys et al., CVPR 2016).
    """

    def __init__(self, network: LPIPS, *, gram_weight: float, perceptual_weight: float = 0.0) -> None:
        super().__init__()
        self.network = network
        self.gram_weight = gram_weight
        self.perceptual_weight = perceptual_weight

    def targets(self, pictures: Tensor) -> list[Tensor]:
        """Features of pictures `(b, 3, h, w)` in [-1, 1], at least 32 wide."""
        return [full_precision(layer) for layer in self.network.features(pictures)]

    def forward(self, output: Tensor, content: list[Tensor] | None, style: list[Tensor]) -> tuple[Tensor, Logs]:
        """Loss of pictures `(b, 3, h, w)` in [-1, 1] against `targets` of content and style, and what to log."""
        features = self.targets(output)
        gram = relative_distance(*([gram_matrix(layer) for layer in each] for each in (features, style))).mean()
        total, logs = self.gram_weight * gram, {"gram_loss": gram}
        if content is not None:
            perceptual = self.network.distance(content, features).mean()
            total, logs = total + self.perceptual_weight * perceptual, logs | {"perceptual_loss": perceptual}
        return total, detached(logs)
