"""`stage2`: the style transfer network."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import Field, model_validator

from quantart.params.section import Count, Section, Weight
from quantart.params.training import DiscriminatorParams, TrainingParams
from quantart.vocabulary.names import PerceptualNetworkName

STYLE_NETWORK: Final = "efficientnet_lite0"
DECODED: Final = ("gram_weight", "perceptual_weight", "contrast_weight")


class Stage2DiscriminatorParams(DiscriminatorParams):
    start: int = Field(0, ge=0)
    """step at which it is switched on"""


class TransferNetworkParams(Section):
    """The style transfer network T(z_c, z_s)."""

    block_num: Count = 6
    residual: bool = True
    use_conv: bool = True
    use_selfatt: bool = True
    adain_start: bool = False
    """start from the content with the style's means and standard deviations (AdaIN)"""
    adain_end: bool = False
    """give the result the style's means and standard deviations (AdaIN)"""


class Stage2LossParams(Section):
    content_weight: Weight = 1.0
    style_weight: Weight = 10.0
    codebook_weight: Weight = 1.0
    divide_by_variance: bool
    """divide the losses on latents by the variance of the style's latents"""
    perceptual_network: PerceptualNetworkName = STYLE_NETWORK
    """network of the next three losses, which compare decoded pictures"""
    gram_weight: Weight = 0.0
    """weight of the Gram distance to the style picture"""
    perceptual_weight: Weight = 0.0
    """weight of the perceptual distance to the content picture"""
    contrast_weight: Weight = 0.0
    """weight of the contrastive loss: nearer to its own painting than to the others of the batch"""

    @property
    def decoded(self) -> dict[str, float]:
        """Weights of the losses on decoded pictures."""
        return self.model_dump(include=set(DECODED))


class Stage2Params(Section):
    objective: Literal["reference", "decoded"] = "decoded"
    """reference: the published losses on latents, starting from the content, whatever adain_start, adain_end,
    divide_by_variance, perceptual_network, gram_weight, perceptual_weight and contrast_weight are; decoded: as these
    parameters say"""
    train: TrainingParams
    network: TransferNetworkParams
    loss: Stage2LossParams
    discriminator: Stage2DiscriminatorParams

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, given: Any) -> Any:
        """Give everything that the reference objective ignores the value of the reference."""
        if not isinstance(given, dict) or given.get("objective") != "reference":
            return given
        published = {
            "network": {"adain_start": False, "adain_end": False},
            "loss": {"divide_by_variance": False, "perceptual_network": STYLE_NETWORK, **dict.fromkeys(DECODED, 0.0)},
        }
        return given | {
            name: given[name] | values for name, values in published.items() if isinstance(given.get(name), dict)
        }

    @model_validator(mode="after")
    def _check_together(self) -> Stage2Params:
        loss = self.loss
        if not any((loss.content_weight, loss.style_weight, self.discriminator.weight, *loss.decoded.values())):
            raise ValueError(
                f"objective {self.objective} with loss.content_weight, loss.style_weight and discriminator.weight 0 "
                "has nothing to train for; the published weights are 1, 10 and 0.8"
            )
        if self.discriminator.weight:
            self.discriminator.check_input(self.train.crop)
        return self
