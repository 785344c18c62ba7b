"""Whether a model paints or tints, in words, and which of the networks that say so took part in its training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, Literal

from quantart.evaluation.estimates import Estimate
from quantart.vocabulary.metrics import TEXTURE

PAINTS_BELOW: Final = 0.9
RULE: Final = (
    "A model paints if, by every network, the whole 95 % interval of its texture lies below "
    f"{PAINTS_BELOW:g} times the tinted photograph's texture. Otherwise it tints."
)

_NETWORK = "perceptual_network"
_WEIGHTS = {
    "loss": ("perceptual_weight", "texture_weight", "gram_weight", "contrast_weight"),  # the last two: earlier versions
    "painting": ("texture_weight", "coarse_texture_weight", "moments_weight", "content_weight"),
}
"""Of the losses that look through the network of a section of the parameters."""


def paints_or_tints(
    model: Mapping[str, Estimate], tinted: Mapping[str, Estimate]
) -> Literal["paints", "tints", "can't be told to paint or to tint"]:
    """By `RULE`, from the metrics of the model and of the tinted photographs; undecided without an interval."""
    textures = [name for name in model if name.startswith(TEXTURE) and name in tinted]
    if not textures or not all(model[name].has_interval for name in textures):
        return "can't be told to paint or to tint"
    below = all(model[name].high < PAINTS_BELOW * tinted[name].value for name in textures)
    return "paints" if below else "tints"


def part_in_training(networks: Iterable[str], parameters: Mapping[str, str]) -> str:
    """A sentence on each network that judges, given the parameters of the run and of those that it builds on.

    The names of the parameters end as in params.yaml, e.g. `stage1_style: stage1.loss.perceptual_network`.
    """
    named = [name.split(".") for name in parameters if name.endswith(f".{_NETWORK}")]
    if not named:
        return "Which networks took part in training is not known."
    used: dict[str, set[str]] = {}
    for stage, section, _ in named:
        asleep = section == "painting" and parameters.get(f"{stage}.objective") != "painting"
        if not asleep and any(float(parameters.get(f"{stage}.{section}.{each}", 0)) for each in _WEIGHTS[section]):
            used.setdefault(parameters[f"{stage}.{section}.{_NETWORK}"], set()).add(stage.split()[-1])
    return " ".join(
        f"`{network}` was in the loss of {' and '.join(sorted(used[network]))}."
        if network in used
        else f"`{network}` took no part in training."
        for network in dict.fromkeys(networks)
    )
