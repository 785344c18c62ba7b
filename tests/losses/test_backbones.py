from __future__ import annotations

from typing import get_args

import pytest
import torch

from quantart.errors import UserError
from quantart.losses import backbones
from quantart.losses.backbones import architecture, input_statistics, layers_of
from quantart.losses.weights import load_backbone
from quantart.vocabulary.names import FeatureNetworkName


@pytest.mark.parametrize("network", get_args(FeatureNetworkName))
def test_an_architecture_holds_no_values_that_could_pass_for_weights(network: FeatureNetworkName) -> None:
    assert {tensor.device.type for tensor in architecture(network).state_dict().values()} == {"meta"}


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(UserError, match="resnet50.*squeezenet1_1, efficientnet_lite0, alexnet, vgg16, inception_v3"):
        architecture("resnet50")  # type: ignore[arg-type]


def test_layers_lead_to_the_same_features_as_the_whole_network() -> None:
    model = load_backbone("efficientnet_lite0")
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        h = layers_of(model, "efficientnet_lite0")(x)
        torch.testing.assert_close(model.bn2(model.conv_head(h)), model.forward_features(x))


def test_inputs_are_standardised_as_each_network_was_trained() -> None:
    grey = torch.zeros(1, 3, 1, 1)  # 0.5 between 0 and 1
    mean, std = input_statistics("vgg16")
    expected = [(0.5 - m) / s for m, s in zip(backbones.IMAGENET_MEAN, backbones.IMAGENET_STD, strict=True)]
    torch.testing.assert_close(((grey - mean) / std).flatten(), torch.tensor(expected))
    mean, std = input_statistics("efficientnet_lite0")
    assert ((grey - mean) / std).tolist() == grey.tolist()
