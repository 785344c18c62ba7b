"""Networks trained on ImageNet, as the perceptual losses and the distances use them: architectures and inputs."""

from __future__ import annotations

from typing import get_args

import torch
from torch import Tensor, nn

from quantart.errors import UserError
from quantart.vocabulary.names import FeatureNetworkName, PerceptualNetworkName

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# trained on pictures in [-1, 1], like ours (torchvision converts to that range for inception_v3)
_AS_THEY_ARE: tuple[FeatureNetworkName, ...] = ("efficientnet_lite0", "inception_v3")


def check_known(network: str) -> None:
    """Raises `UserError` for a name that is no `FeatureNetworkName`."""
    if network not in get_args(FeatureNetworkName):
        raise UserError(f"network = {network!r}: unknown", f"use one of {', '.join(get_args(FeatureNetworkName))}")


def architecture(network: FeatureNetworkName) -> nn.Module:
    """The network without its classifier and without values: its tensors are on the meta device.

    Raises:
        UserError: an unknown network.
    """
    check_known(network)
    with torch.device("meta"):
        if network == "efficientnet_lite0":
            import timm  # only here: it is slow to import

            # TensorFlow's padding and epsilon of the batch normalisation, with which it was trained
            return timm.create_model("tf_efficientnet_lite0", pretrained=False, num_classes=0)
        import torchvision  # slow too

        if network == "inception_v3":
            inception = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
            inception.fc = nn.Identity()
            return inception
        model = torchvision.models.get_model(network, weights=None)
        model.classifier = nn.Identity()
        return model


def layers_of(model: nn.Module, network: PerceptualNetworkName) -> nn.Sequential:
    """The layers before the classifier and its own convolutions, in order."""
    parts = dict(model.named_children())
    if network == "efficientnet_lite0":
        return nn.Sequential(parts["conv_stem"], parts["bn1"], *parts["blocks"].children())  # bn1 ends in an activation
    return nn.Sequential(*parts["features"].children())


def input_statistics(network: FeatureNetworkName) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, `(1, 3, 1, 1)` each, by which to standardise pictures in [-1, 1] for it."""
    if network in _AS_THEY_ARE:
        return torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return 2.0 * mean - 1.0, 2.0 * std
