"""The words that parameters, commands and code share: domains, variants, splits and networks."""

from __future__ import annotations

from typing import Literal

Domain = Literal["content", "style"]
Stage1Domain = Literal["base", "content", "style"]
Variant = Literal["discrete", "continuous"]
TransferNetworkName = Literal["reference", "twin"]
Split = Literal["train", "val", "test"]
PerceptualNetworkName = Literal["squeezenet1_1", "efficientnet_lite0", "alexnet", "vgg16"]
FeatureNetworkName = Literal["squeezenet1_1", "efficientnet_lite0", "alexnet", "vgg16", "inception_v3"]

DOMAINS: tuple[Domain, ...] = ("content", "style")
VARIANTS: tuple[Variant, ...] = ("discrete", "continuous")
SPLITS: tuple[Split, ...] = ("train", "val", "test")
