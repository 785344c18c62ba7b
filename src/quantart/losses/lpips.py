"""LPIPS, a perceptual distance on features of a network trained on ImageNet (Zhang et al., CVPR 2018)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from quantart.components.precision import full_precision
from quantart.errors import UserError
from quantart.losses.backbones import input_statistics, layers_of
from quantart.losses.weights import is_torchvisions, load_backbone, package_file
from quantart.vocabulary.names import PerceptualNetworkName


class _Backbone(NamedTuple):
    taps: tuple[int, ...]
    """The layers, see `layers_of`, whose outputs are compared."""
    structure: int
    """See `LPIPS.structure`."""
    heads: str | None
    """Name of its channel weights in the `lpips` package; None: every channel has weight 1."""


# The package's channel weights for SqueezeNet were learned on torchvision's weights. Ours are from another training, in
# which the channels mean something else, so we use the paper's uncalibrated distance.
_BACKBONES: dict[PerceptualNetworkName, _Backbone] = {
    "squeezenet1_1": _Backbone((1, 4, 7, 9, 10, 11, 12), 2, None),
    "efficientnet_lite0": _Backbone((2, 3, 4, 6, 8), 2, None),  # each resolution's last stage
    "alexnet": _Backbone((1, 4, 7, 9, 11), 1, "alex"),
    "vgg16": _Backbone((3, 8, 15, 22, 29), 2, "vgg"),
}


class LPIPS(nn.Module):
    """Squared differences of unit-length features, weighted per channel, averaged over space and summed over layers.

    `alexnet` and `vgg16` with torchvision's weights give LPIPS 0.1 with the calibrated channel weights of the `lpips`
    package. Otherwise channels are not weighted, so the numbers are larger. Compare only distances of one network with
    the same weights.

    Args:
        weights: a file with the network's weights; None: those that are shipped or that torchvision downloads.
        layers: compare only the first few layers; None: all.

    Attributes:
        structure: index in `features` of the layer on which `cfsd` is measured. It has one position for every 4
            (`vgg16`) or 8 pixels, so it is local, but shows more than colour.

    Raises:
        UserError: an unknown network, its weights can't be had, or the file does not fit it.
    """

    def __init__(
        self,
        network: PerceptualNetworkName = "squeezenet1_1",
        weights: Path | None = None,
        *,
        layers: int | None = None,
    ) -> None:
        super().__init__()
        if network not in _BACKBONES:
            raise UserError(f"perceptual network = {network!r}: unknown", f"use one of {', '.join(_BACKBONES)}")
        self.network = network
        taps, self.structure, heads = _BACKBONES[network]
        self._taps = taps[:layers]
        self.layers = layers_of(load_backbone(network, weights), network)[: self._taps[-1] + 1]
        if weights is not None and heads is not None and not is_torchvisions(network, weights):
            heads = None
        self.heads = nn.ParameterList(_read_heads(heads, len(self._taps)) if heads else [])
        self.mean: Tensor
        self.std: Tensor
        mean, std = input_statistics(network)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)  # half the time of the default layout on a CPU
        self.eval()

    @property
    def metric(self) -> str:
        """Its metric's name: `lpips_…` with the calibrated channel weights, else `perceptual_…`."""
        return f"{'lpips' if len(self.heads) else 'perceptual'}_{self.network}"

    def train(self, mode: bool = True) -> LPIPS:
        """Stays in eval mode, so that the distance does not change during training."""
        return super().train(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Outputs `(b, c, h', w')` of the compared layers for pictures `(b, 3, h, w)` in [-1, 1], at least 32 wide."""
        return self.outputs((x - self.mean) / self.std)

    def outputs(self, h: Tensor) -> list[Tensor]:
        """As `features`, for pictures that are in the network's own units already."""
        h = h.contiguous(memory_format=torch.channels_last)
        outputs = []
        for i, layer in enumerate(self.layers):
            h = layer(h)
            if i in self._taps:
                outputs.append(h)
        return outputs

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Distances `(b,)` ≥ 0 of pictures `(b, 3, h, w)` in [-1, 1]; only `y` gets a gradient."""
        with torch.no_grad():
            targets = self.features(x)
        return self.distance(targets, self.features(y))

    def distance(self, targets: list[Tensor], outputs: list[Tensor]) -> Tensor:
        """Distances `(b,)` from the `features` of pictures."""
        total = outputs[0].new_zeros(len(outputs[0]), dtype=torch.float32)
        for i, (target, output) in enumerate(zip(targets, outputs, strict=True)):
            squared = (_unit(full_precision(output)) - _unit(full_precision(target))).square()  # (b, c, h, w)
            if len(self.heads):
                squared = squared * self.heads[i]
            total = total + squared.sum(1).mean((1, 2))
        return total


def _unit(features: Tensor) -> Tensor:
    """Features with the vector of channels at each position scaled to length 1."""
    return features / (features.square().sum(1, keepdim=True).sqrt() + 1e-10)


def _read_heads(name: str, layers: int) -> list[Tensor]:
    file = package_file("lpips", f"weights/v0.1/{name}.pth", "lpips>=0.1.4")
    state = torch.load(file, weights_only=True, map_location="cpu")
    return [state[f"lin{i}.model.1.weight"] for i in range(layers)]  # (1, c, 1, 1)
