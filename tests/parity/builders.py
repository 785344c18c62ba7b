"""Builds our networks and losses from a golden file's configuration, which is in the reference's terms."""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor, nn

from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.stage_1 import Stage1Loss
from quantart.losses.stage_2 import Stage2Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

DISCRIMINATOR = "loss.discriminator."


def assert_near(actual: Tensor, expected: Tensor, tolerance: float, name: str) -> None:
    """Every element within `tolerance` of the largest magnitude of `expected`; integers exactly."""
    assert actual.shape == expected.shape, name
    if not expected.is_floating_point():
        assert actual.equal(expected), f"{name}: another integer"
        return
    error = (actual.double() - expected.double()).abs().max().item()
    bound = tolerance * expected.double().abs().max().item()
    assert error <= bound, f"{name}: off by {error:.3g}, allowed {bound:.3g}"


def assert_state_near(module: nn.Module, expected: dict[str, Tensor], tolerance: float) -> None:
    """All of the module's state, and nothing else, is as expected."""
    state = module.state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        assert_near(state[name], value, tolerance, name)


def network_state(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the loss's part."""
    return {name: value for name, value in state.items() if not name.startswith("loss.")}


def stage_1(config: dict[str, Any], state: dict[str, Tensor]) -> ExperimentStage1:
    model = ExperimentStage1(config["ddconfig"], config["n_embed"], config["embed_dim"])
    model.load_state_dict(network_state(state))
    return model


def stage_2(config: dict[str, Any], state: dict[str, Tensor]) -> ExperimentStage2:
    blocks = {match[1] for name in state if (match := re.match(r"model_x2y\.blocks\.(\d+)\.", name))}
    model = ExperimentStage2(
        config["ddconfig"],
        config["n_embed"],
        config["embed_dim"],
        block_num=len(blocks),
        variant="discrete" if "quantize_dec.embedding.weight" in state else "continuous",
    )
    model.load_state_dict(network_state(state))
    return model


def discriminator(lossconfig: dict[str, Any], state: dict[str, Tensor], prefix: str) -> NLayerDiscriminator:
    module = NLayerDiscriminator(lossconfig["disc_in_channels"], lossconfig["disc_ndf"], lossconfig["disc_num_layers"])
    module.load_state_dict(discriminator_state(state, prefix))
    return module


def discriminator_state(state: dict[str, Tensor], prefix: str = DISCRIMINATOR) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def stage_1_loss(lossconfig: dict[str, Any], state: dict[str, Tensor]) -> Stage1Loss:
    return Stage1Loss(
        discriminator(lossconfig, state, DISCRIMINATOR),
        None,
        codebook_weight=lossconfig["codebook_weight"],
        disc_start=lossconfig["disc_start"],
        disc_weight=lossconfig["disc_weight"],
    )


def stage_2_loss(lossconfig: dict[str, Any], state: dict[str, Tensor], prefix: str = DISCRIMINATOR) -> Stage2Loss:
    return Stage2Loss(
        discriminator(lossconfig, state, prefix),
        reverse_weight=lossconfig["reverse_weight"],
        style_weight=lossconfig["style_weight"],
        codebook_weight=lossconfig["codebook1_weight"],
        disc_start=lossconfig["disc_start"],
        disc_weight=lossconfig["disc_weight"],
        disc_factor=lossconfig["disc_factor"],
    )
