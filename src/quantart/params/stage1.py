"""`stage1` and `encode`: the VQGANs, first a base for both domains, then one for each; the codes made with them."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from quantart.params.section import Count, Fraction, Section, Weight
from quantart.params.training import SMALLEST_PERCEPTUAL, DiscriminatorParams, TrainingParams
from quantart.vocabulary.names import PerceptualNetworkName, Stage1Domain


class Stage1TrainingParams(TrainingParams):
    quantize_from: int = Field(0, ge=0)
    """step at which k-means initialises the codebook and quantisation begins; 0: quantise from the start with the
    codebook as it is"""
    discriminator_start: int | None = Field(None, ge=0)
    """step at which the discriminator is switched on; null: no discriminator"""

    @model_validator(mode="after")
    def _check_starts(self) -> Stage1TrainingParams:
        starts = {"quantize_from": self.quantize_from, "discriminator_start": self.discriminator_start}
        for name, start in starts.items():
            if start is not None and start >= self.steps:
                raise ValueError(f"{name} {start} is not before the end of the training ({self.steps} steps)")
        return self


class QuantizerParams(Section):
    """How the codebook learns."""

    update: Literal["ema", "gradient"]
    """gradient: by the codebook loss, as the reference; ema: by moving averages of the latents, with dead codes
    revived"""
    beta: Weight = 0.25
    """weight of the commitment term"""
    legacy: bool
    """apply beta to the codebook term instead, as the first release of Taming Transformers"""
    cosine: bool = False
    """scale latents and codes to length 1, so that the nearest code is by angle"""
    rotation: bool = False
    """pass the gradient to the latents by the rotation trick instead of straight-through"""
    decay: Fraction = 0.97
    """decay of the moving averages (ema only)"""
    revive_below: Weight = 0.05
    """codes used less than this fraction of the mean use are replaced by latents (ema only)"""


class Stage1LossParams(Section):
    perceptual_network: PerceptualNetworkName = "squeezenet1_1"
    perceptual_weight: Weight
    colour_weight: Weight = 0.0
    """weight of the CIELAB difference between means of 4 × 4 pixels"""
    codebook_weight: Weight = 1.0


VQGAN_KEYS: Final[dict[Stage1Domain, str]] = {"base": "init_from", "content": "content_from", "style": "style_from"}


class Stage1Params(Section):
    init_from: str | None = Field(None, min_length=1)
    """folder of a VQGAN, e.g. an imported one, to use as the base instead of training one"""
    content_from: str | None = Field(None, min_length=1)
    """folder of a VQGAN to use for the photographs instead of training one"""
    style_from: str | None = Field(None, min_length=1)
    """folder of a VQGAN to use for the paintings instead of training one"""
    colour_gain: float = Field(1.0, gt=0.0)
    """initial gain of the red-blue axis relative to brightness; the green-magenta axis gets its square; 1: as
    published"""
    base: Stage1TrainingParams
    domain: Stage1TrainingParams
    quantizer: QuantizerParams
    loss: Stage1LossParams
    discriminator: DiscriminatorParams

    def training(self, domain: Stage1Domain) -> Stage1TrainingParams:
        return self.base if domain == "base" else self.domain

    @property
    def given_vqgans(self) -> dict[Stage1Domain, str]:
        """Folder of each VQGAN that is used instead of training one."""
        folders = {domain: getattr(self, key) for domain, key in VQGAN_KEYS.items()}
        return {domain: folder for domain, folder in folders.items() if folder is not None}

    @model_validator(mode="after")
    def _check_together(self) -> Stage1Params:
        if self.base.batch_size < 2:
            raise ValueError("base.batch_size 1 leaves no picture for one of the two domains; use at least 2")
        if self.content_from and self.style_from and not self.init_from:
            raise ValueError("content_from and style_from leave the base unused; set init_from to one of them as well")
        self.discriminator.check_input(self.domain.crop)
        if self.base.discriminator_start is not None:
            self.discriminator.check_input(self.base.crop)
        for name, training in {"base": self.base, "domain": self.domain}.items():
            if self.loss.perceptual_weight and training.crop < SMALLEST_PERCEPTUAL:
                better = f"use at least {SMALLEST_PERCEPTUAL}, or set loss.perceptual_weight to 0"
                raise ValueError(f"{name}.crop {training.crop} is too small for the perceptual loss; {better}")
        return self


class EncodeParams(Section):
    copies: Count
    """times that each training picture is encoded: first as it is, then as random crops and flips"""
    batch_size: Count = 16
