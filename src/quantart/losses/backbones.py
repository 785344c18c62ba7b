"""Networks that know ImageNet, as the perceptual and the set distances use them: architectures and inputs."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torchvision
from torch import Tensor, nn

from quantart.errors import UserError

PerceptualNetwork = Literal["squeezenet1_1", "efficientnet_lite0", "alexnet", "vgg16"]
Network = Literal["squeezenet1_1", "efficientnet_lite0", "alexnet", "vgg16", "inception_v3"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# trained on pictures in [-1, 1], as ours are (torchvision says the same of inception_v3 in a roundabout way)
_AS_THEY_ARE: tuple[Network, ...] = ("efficientnet_lite0", "inception_v3")


def check_known(network: str) -> None:
    """Raises `UserError` for a name that is no `Network`."""
    if network not in get_args(Network):
        raise UserError(f"network {network!r}: must be one of {', '.join(get_args(Network))}")


def architecture(network: Network) -> nn.Module:
    """The whole network with its classifier, without values: its tensors are on the meta device.

    Raises:
        UserError: an unknown network.
    """
    check_known(network)
    with torch.device("meta"):
        if network == "efficientnet_lite0":
            import timm  # only here: it is slow to import

            # TensorFlow's padding and epsilon of the batch normalisation, with which it was trained
            return timm.create_model("tf_efficientnet_lite0", pretrained=False)
        if network == "inception_v3":
            return torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=False)
        return torchvision.models.get_model(network, weights=None)


def layers_of(model: nn.Module, network: PerceptualNetwork) -> nn.Sequential:
    """The layers before the classifier and its own convolutions, one after the other."""
    parts = dict(model.named_children())
    if network == "efficientnet_lite0":
        return nn.Sequential(parts["conv_stem"], parts["bn1"], *parts["blocks"].children())  # bn1 ends in an activation
    return nn.Sequential(*parts["features"].children())


def input_statistics(network: Network) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, `(1, 3, 1, 1)` each, by which it wants pictures in [-1, 1] standardised."""
    if network in _AS_THEY_ARE:
        return torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return 2.0 * mean - 1.0, 2.0 * std
