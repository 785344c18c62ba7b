"""`stage1`, `encode` and `stage2`: training the VQGANs, storing codes, training the style transfer network.

Stage 1 trains first a base for both domains, then one VQGAN for each.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from quantart.params.section import Count, Fraction, Section, Step, Weight
from quantart.vocabulary.names import PerceptualNetworkName, Stage1Domain
from quantart.vocabulary.painting import PAINTING_WEIGHTS

SMALLEST_PERCEPTUAL: Final = 32  # pixels; the perceptual networks cannot take smaller pictures
SMALLEST_PAINTING: Final = 2 * SMALLEST_PERCEPTUAL  # pictures are compared at half their size too
VQGAN_KEYS: Final[dict[Stage1Domain, str]] = {"base": "init_from", "content": "content_from", "style": "style_from"}


class TrainingParams(Section):
    """One training run. A step is one batch: an update of the model, then of the discriminator if there is one."""

    steps: Count
    batch_size: Count
    """over all processes together"""
    crop: Count
    """side of the training crops: pixels in stage 1, codes in stage 2"""
    optimizer: Literal["adam", "muon"] = "adam"
    """muon: orthogonalised momentum for the inner convolutions, Adam for the rest"""
    learning_rate: float = Field(gt=0.0)
    """of what Adam trains; with muon all but the inner convolutions"""
    muon_learning_rate: float = Field(0.004, gt=0.0)
    """of the inner convolutions (muon only), on the same schedule; a lean VQGAN diverges at 0.02"""
    betas: list[Fraction] = Field(min_length=2, max_length=2)
    weight_decay: Weight = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float | None = Field(None, gt=0.0)
    """largest norm of the model's gradient; null: no clipping"""
    weight_ema: Fraction = 0.0
    """decay of the moving average of the weights, which is saved; 0: save the last weights"""
    log_every: Count = 50
    """steps between two points of each logged curve"""
    validate_every: Count = 500
    checkpoint_every: Count = 500

    @model_validator(mode="after")
    def _check_intervals(self) -> TrainingParams:
        # otherwise a resumed run would log other means than an uninterrupted one
        if self.checkpoint_every % self.log_every:
            raise ValueError(f"checkpoint_every {self.checkpoint_every} is no multiple of log_every {self.log_every}")
        return self


class DiscriminatorParams(Section):
    """PatchGAN, on pictures in stage 1 and on latents in stage 2's `objective: reference`."""

    ndf: Count
    """channels of its first layer"""
    n_layers: int = Field(ge=0)
    """strided layers after the first"""
    loss: Literal["hinge", "vanilla"] = "hinge"
    weight: Weight
    """weight of the adversarial loss, times the adaptive weight; `discriminator_start` turns the discriminator off"""
    learning_rate_factor: float = Field(default=1.0, gt=0.0)
    """its learning rate relative to the generator's"""
    reference_order: bool
    """true: as in the reference, the discriminator sees a second forward pass of the updated generator and also runs
    before it is switched on; false: one forward pass per step, and none before it is switched on"""

    def check_input(self, side: int) -> None:
        """Raise `ValueError` if inputs of this side are too small for all layers."""
        # one strided layer, n_layers - 1 more, then two 4 × 4 layers that each take one off the side
        if side // 2 ** max(self.n_layers, 1) - 2 < 1:
            raise ValueError(
                f"discriminator.n_layers {self.n_layers} is too many for inputs of side {side}, which shrink to "
                "nothing; use fewer layers or a larger crop"
            )


class Stage1TrainingParams(TrainingParams):
    quantize_from: int = Field(0, ge=0)
    """step at which k-means initialises the codebook and quantisation begins; 0: quantise from the start with the
    codebook as it is"""
    discriminator_start: int | None = Field(None, ge=0)
    """step at which the discriminator is switched on; null: no discriminator"""
    perceptual_from: int = Field(0, ge=0)
    """step from which the perceptual and the texture loss count; without them a step takes half the time"""
    decoder_from: int | None = Field(None, ge=0)
    """step from which the decoder alone is trained, encoder and codebook staying as they are; null: never"""

    @model_validator(mode="after")
    def _check_starts(self) -> Stage1TrainingParams:
        for name in ("quantize_from", "discriminator_start", "perceptual_from", "decoder_from"):
            if (start := getattr(self, name)) is not None and start >= self.steps:
                raise ValueError(f"{name} {start} is not before the end of the training ({self.steps} steps)")
        if self.decoder_from is not None and self.decoder_from < self.quantize_from:
            raise ValueError(f"decoder_from {self.decoder_from} is before quantize_from {self.quantize_from}")
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
    l1_weight: Weight = 1.0
    """weight of the mean absolute difference of pixels"""
    perceptual_network: PerceptualNetworkName = "squeezenet1_1"
    perceptual_weight: Weight
    texture_weight: Weight = 0.0
    """weight of the distance between correlations of the perceptual network's channels, in its first four layers"""
    colour_weight: Weight = 0.0
    """weight of the CIELAB difference between means of 4 × 4 pixels"""
    spectrum_weight: Weight = 0.0
    """weight of the difference between logarithms of the energy of detail, by its size and direction"""
    codebook_weight: Weight = 1.0


class Stage1Params(Section):
    init_from: str | None = Field(None, min_length=1)
    """folder of a VQGAN, e.g. an imported one, to use as the base instead of training one; quantart/open: the one that
    comes with the package"""
    content_from: str | None = Field(None, min_length=1)
    """folder of a VQGAN to use for the photographs instead of training one; quantart/open as above"""
    style_from: str | None = Field(None, min_length=1)
    """folder of a VQGAN to use for the paintings instead of training one; quantart/open as above"""
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
            remedy = "set them to null to train from it, or init_from to one of them"
            raise ValueError(f"content_from and style_from leave the base unused; {remedy}")
        self.discriminator.check_input(self.domain.crop)
        if self.base.discriminator_start is not None:
            self.discriminator.check_input(self.base.crop)
        for name, training in {"base": self.base, "domain": self.domain}.items():
            seen = [key for key in ("perceptual_weight", "texture_weight") if getattr(self.loss, key)]
            if seen and training.crop < SMALLEST_PERCEPTUAL:
                better = f"use at least {SMALLEST_PERCEPTUAL}, or set loss.{' and loss.'.join(seen)} to 0"
                raise ValueError(f"{name}.crop {training.crop} is too small for the perceptual network; {better}")
        return self


class EncodeParams(Section):
    copies: Count
    """times that each training picture is encoded: first as it is, then as random crops and flips"""
    batch_size: Count = 16


class ReferenceDiscriminatorParams(DiscriminatorParams):
    """Of `stage2.objective: reference` alone: the published one, on latents."""

    ndf: Count = 64
    """channels of its first layer"""
    n_layers: Step = 0
    """strided layers after the first"""
    weight: Weight = 0.8
    """weight of the adversarial loss and of the discriminator's own, as published; 0: there is no discriminator"""
    reference_order: bool = True
    """as in stage 1"""
    start: Step = 0
    """step at which it is switched on"""


class TransferNetworkParams(Section):
    """Of `stage2.objective: reference` alone: the published style transfer network T(z_c, z_s)."""

    block_num: Count = 6
    residual: bool = True
    use_conv: bool = True
    use_selfatt: bool = True


class ReferenceLossParams(Section):
    """Of `stage2.objective: reference` alone: the published losses, of latents."""

    content_weight: Weight = 1.0
    style_weight: Weight = 10.0
    codebook_weight: Weight = 1.0


class PaintingParams(Section):
    """Of `stage2.objective: painting` alone: a network that paints, trained on decoded pictures."""

    width: Count = 64
    """channels at the resolution of the codes; half as many again at half that resolution"""
    coarse_blocks: Count = 4
    """residual blocks at half that resolution; every second one attends to the style"""
    fine_blocks: Count = 3
    """residual blocks at the resolution of the codes"""
    quantize_from: Step = 0
    """step from which the discrete variant is quantised; until then it learns faster"""
    min_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 1.0
    """the pictures of a step are reduced by a random factor from this to 1, so that the network knows several sizes of
    strokes"""
    perceptual_network: PerceptualNetworkName = "squeezenet1_1"
    """network of the losses of texture, moments and content; another one should judge"""
    texture_weight: Weight = PAINTING_WEIGHTS["texture_weight"]
    """correlations of the network's channels, as in the painting"""
    coarse_texture_weight: Weight = PAINTING_WEIGHTS["coarse_texture_weight"]
    """the same of both pictures at half their size"""
    moments_weight: Weight = PAINTING_WEIGHTS["moments_weight"]
    """means and deviations of the network's channels, as in the painting"""
    colour_weight: Weight = PAINTING_WEIGHTS["colour_weight"]
    """CIELAB means and deviations, as in the painting"""
    spectrum_weight: Weight = PAINTING_WEIGHTS["spectrum_weight"]
    """energy of detail by its size and direction, as in the painting"""
    content_weight: Weight = PAINTING_WEIGHTS["content_weight"]
    """standardised features, as in the photograph"""
    codebook_weight: Weight = PAINTING_WEIGHTS["codebook_weight"]
    """squared distance of the discrete variant's latents to their nearest codes"""

    @property
    def weights(self) -> dict[str, float]:
        """Those of the loss, by name."""
        return {name: getattr(self, name) for name in PAINTING_WEIGHTS}


class Stage2Params(Section):
    objective: Literal["painting", "reference"] = "painting"
    """painting: as `painting` says; reference: the published `network`, `loss` and `discriminator`"""
    init_from: str | None = Field(None, min_length=1)
    """folder of a stage-2 model whose transfer network to train further; quantart/open: the one that comes with the
    package"""
    train: TrainingParams
    painting: PaintingParams = Field(default_factory=PaintingParams)
    network: TransferNetworkParams = Field(default_factory=TransferNetworkParams)
    loss: ReferenceLossParams = Field(default_factory=ReferenceLossParams)
    discriminator: ReferenceDiscriminatorParams = Field(default_factory=ReferenceDiscriminatorParams)

    @model_validator(mode="after")
    def _check_together(self) -> Stage2Params:
        if self.objective == "painting":
            if self.painting.quantize_from >= self.train.steps:
                start = f"painting.quantize_from {self.painting.quantize_from}"
                raise ValueError(f"{start} is not before the end of the training ({self.train.steps} steps)")
            return self
        if not any((self.loss.content_weight, self.loss.style_weight, self.discriminator.weight)):
            raise ValueError(
                "objective reference with loss.content_weight, loss.style_weight and discriminator.weight 0 "
                "has nothing to train for; the published weights are 1, 10 and 0.8"
            )
        if self.discriminator.weight:
            self.discriminator.check_input(self.train.crop)
        return self
