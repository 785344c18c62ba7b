"""Builds our networks and losses from a golden file's configuration, which is in the reference's terms."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.reference import ReferenceLoss
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

DISCRIMINATOR = "loss.discriminator."

# what the reference logs, by our name of it; `quant_x2y_loss` is of stage 2
LOGGED = {
    "total_loss": "total_loss",
    "nll_loss": "nll_loss",
    "rec_loss": "reconstruction_loss",
    "p_loss": "perceptual_loss",
    "quant_loss": "codebook_loss",
    "quant_x2y_loss": "codebook_loss",
    "reverse_loss": "content_loss",
    "style_loss": "style_loss",
    "g_loss": "adversarial_loss",
    "disc_loss": "discriminator_loss",
    "disc_factor": "discriminator_weight",
    "logits_real": "logits_real",
    "logits_fake": "logits_fake",
}

# what the reference's losses take where a configuration is silent
ADVERSARIAL = {
    "disc_in_channels": 3,
    "disc_ndf": 64,
    "disc_num_layers": 3,
    "use_actnorm": False,
    "disc_loss": "hinge",
    "disc_weight": 1.0,
    "disc_factor": 1.0,
}
STAGE_1 = ADVERSARIAL | {"codebook_weight": 1.0}
STAGE_2 = ADVERSARIAL | {"codebook1_weight": 1.0, "reverse_weight": 1.0, "style_weight": 10.0}
# what it takes and never uses, and what has only one value here
UNUSED = {"pixelloss_weight", "codebook2_weight"}
FIXED = {"disc_conditional": False, "perceptual_weight": 0.0, "G_step": 1}


def network_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the loss's part."""
    return {name: value for name, value in state.items() if not name.startswith("loss.")}


def discriminator_state(state: Mapping[str, Tensor], prefix: str = DISCRIMINATOR) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def stage_1(config: dict[str, Any], state: Mapping[str, Tensor]) -> ExperimentStage1:
    model = ExperimentStage1(config["ddconfig"], config["n_embed"], config["embed_dim"])
    model.load_state_dict(network_state(state))
    return model


def stage_2(config: dict[str, Any], state: Mapping[str, Tensor]) -> ExperimentStage2:
    blocks = [match for name in state if (match := re.match(r"model_x2y\.blocks\.(\d+)\.(\w+)\.", name))]
    parts = {match[2] for match in blocks}
    model = ExperimentStage2(
        config["ddconfig"],
        config["n_embed"],
        config["embed_dim"],
        block_num=len({match[1] for match in blocks}),
        residual=config.get("use_residual", True),
        use_conv="res_block" in parts,
        use_selfatt="self_attn_block" in parts,
        variant="discrete" if "quantize_dec.embedding.weight" in state else "continuous",
    )
    model.load_state_dict(network_state(state))
    return model


def stage_1_loss(lossconfig: dict[str, Any], state: Mapping[str, Tensor]) -> Stage1Loss:
    config = _with_defaults(lossconfig, STAGE_1)
    return Stage1Loss(
        _discriminator(config, state, DISCRIMINATOR),
        None,
        codebook_weight=config["codebook_weight"],
        **_adversarial(config),
    )


def stage_2_loss(lossconfig: dict[str, Any], state: Mapping[str, Tensor], prefix: str = DISCRIMINATOR) -> ReferenceLoss:
    config = _with_defaults(lossconfig, STAGE_2)
    return ReferenceLoss(
        _discriminator(config, state, prefix),
        content_weight=config["reverse_weight"],
        style_weight=config["style_weight"],
        codebook_weight=config["codebook1_weight"],
        **_adversarial(config),
    )


def reference_logs(logs: Mapping[str, Tensor], lossconfig: dict[str, Any]) -> dict[str, Tensor]:
    """What an objective logs in both phases, under the reference's names."""
    renamed = {theirs: logs[ours] for theirs, ours in LOGGED.items() if ours in logs}
    # the reference's two factors of the adversarial loss are one weight here
    factor = lossconfig.get("disc_factor", ADVERSARIAL["disc_factor"])
    return renamed | {"d_weight": logs["adversarial_weight"] / factor}


def _adversarial(config: dict[str, Any]) -> dict[str, Any]:
    return {
        "adversarial_weight": config["disc_weight"] * config["disc_factor"],
        "discriminator_start": config["disc_start"],
        "discriminator_weight": config["disc_factor"],
        "kind": config["disc_loss"],
    }


def _with_defaults(lossconfig: dict[str, Any], defaults: dict[str, Any]) -> dict[str, Any]:
    unknown = lossconfig.keys() - defaults.keys() - UNUSED - FIXED.keys() - {"disc_start"}
    other = {name: lossconfig[name] for name, only in FIXED.items() if lossconfig.get(name, only) != only}
    assert not unknown, f"lossconfig: nothing here takes {sorted(unknown)}"
    assert not other, f"lossconfig: nothing here does {other}"
    return defaults | lossconfig


def _discriminator(config: dict[str, Any], state: Mapping[str, Tensor], prefix: str) -> NLayerDiscriminator:
    module = NLayerDiscriminator(
        config["disc_in_channels"], config["disc_ndf"], config["disc_num_layers"], config["use_actnorm"]
    )
    module.load_state_dict(discriminator_state(state, prefix))
    return module
