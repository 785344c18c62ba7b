"""Typed, strict, frozen view of `params.yaml`, which `quantart.params.file.load_params` reads.

Every field of the file is here with its unit and range, and every combination that is impossible.
`params.select(["seed", "data.resolution", "stage1.base"])` gives these values and sections as nested plain dicts;
in a test, `view, read = recording(params)` (tests/params/recording.py) collects in `read` the keys read from `view`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from quantart.vocabulary.filters import parse_where
from quantart.vocabulary.limits import Limit, parse_limit
from quantart.vocabulary.metrics import check_metric, larger_is_better
from quantart.vocabulary.names import (
    DOMAINS,
    Domain,
    FeatureNetworkName,
    PerceptualNetworkName,
    Stage1Domain,
    Variant,
)
from quantart.vocabulary.pictures import is_picture

Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Weight = Annotated[float, Field(ge=0.0)]
Count = Annotated[int, Field(ge=1)]
SMALLEST_PERCEPTUAL = 32  # pixels, what the perceptual networks can take


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class TableParams(_Section):
    """How a table (`.csv`) or a list (`.txt`) names pictures."""

    column: str | None = Field(None, min_length=1, description="of a table: the one with the names; null: `filename`")
    where: str | None = Field(None, description="of a table: which rows, `genre == landscape and year != 1900`")
    root: str | None = Field(
        None,
        description="folder that the names are relative to and stay inside of, relative to the project's root or "
        "absolute; null: the one that the table or list lies in",
    )

    @model_validator(mode="after")
    def _filter_can_be_read(self) -> TableParams:
        if self.where is not None:
            parse_where(self.where)
        return self


class DataParams(_Section):
    """Where the pictures are and how they are prepared."""

    content: str = Field(
        description="photographs: a folder, a list (.txt), a table (.csv), a shard (.tar) or one picture, relative to "
        "the project's root or absolute"
    )
    style: str = Field(description="paintings, likewise")
    content_table: TableParams | None = Field(None, description="how the list or table `content` is read")
    style_table: TableParams | None = Field(None, description="how the list or table `style` is read")
    paired: bool = Field(False, description="pictures of both domains with the same name belong together")
    resolution: int = Field(ge=32, description="side in pixels of the square that the networks see")
    short_side: int = Field(ge=32, description="short side in pixels of the stored pictures")
    resize: Literal["short_side", "squash"] = Field(
        "short_side",
        description="short_side: the aspect is kept; squash: a square of short_side, aspect lost, as in the reference",
    )
    max_aspect: float = Field(2.0, ge=1.0, description="longer pictures are cropped at both ends to this ratio")
    val_share: Share = Field(0.08, description="share of the pictures used for validation while training")
    test_share: Share = Field(0.14, description="share of the pictures kept for the evaluation")
    max_pixels: Count = Field(100_000_000, description="pictures with more pixels are set aside undecoded")
    max_rejected_share: float = Field(0.05, ge=0.0, le=1.0, description="a larger share set aside stops the stage")

    @model_validator(mode="after")
    def _fits(self) -> DataParams:
        if self.short_side < self.resolution:
            raise ValueError(
                f"short_side {self.short_side} is smaller than resolution {self.resolution}; "
                f"use at least {self.resolution}"
            )
        if self.val_share + self.test_share >= 1.0:
            raise ValueError(
                f"val_share {self.val_share} and test_share {self.test_share} leave nothing to train on; "
                "their sum must stay below 1"
            )
        return self

    @model_validator(mode="after")
    def _sources_fit(self) -> DataParams:
        for domain in DOMAINS:
            source, table = self.folder(domain), self.table(domain)
            kind = Path(source).suffix.lower()
            if table is not None and kind not in {".csv", ".txt"}:
                raise ValueError(
                    f"{domain}_table is for a table (.csv) or a list (.txt), but {domain} is {source!r}; set it to null"
                )
            if table is not None and kind == ".txt" and (table.column is not None or table.where is not None):
                raise ValueError(f"{domain}_table has a column or a filter, but {domain} is a list; give its root only")
            if self.paired and is_picture(source):
                raise ValueError(f"paired pictures need two sets of the same names, but {domain} is one picture")
        return self

    def folder(self, domain: Domain) -> str:
        """The source of a domain's pictures as it was given: mostly a folder."""
        return self.content if domain == "content" else self.style

    def table(self, domain: Domain) -> TableParams | None:
        return self.content_table if domain == "content" else self.style_table


class ModelParams(_Section):
    """The VQGAN's shape, in the reference's names (both domains use the same)."""

    ch: Count = Field(description="channels at full resolution")
    ch_mult: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="multiplier of `ch` per level; each level after the first halves the resolution"
    )
    num_res_blocks: Count = Field(description="residual blocks per level")
    attn_resolutions: list[Annotated[int, Field(ge=1)]] = Field(description="sides in pixels where attention is placed")
    z_channels: Count = Field(description="channels of the encoder's output")
    embed_dim: Count = Field(description="length of a code")
    n_embed: int = Field(ge=2, description="number of codes in the codebook")
    dropout: Share = 0.0

    @property
    def downsampling(self) -> int:
        """Pixels per code along one side."""
        return int(2 ** (len(self.ch_mult) - 1))

    @model_validator(mode="after")
    def _groups_divide(self) -> ModelParams:
        widths = {f"ch·{m}": self.ch * m for m in self.ch_mult} | {"embed_dim": self.embed_dim}
        for name, width in widths.items():
            if width >= 32 and width % 32:
                near = (width // 32) * 32, (width // 32 + 1) * 32
                raise ValueError(
                    f"{name} = {width} is not divisible into 32 groups; use {near[0]}, {near[1]} or less than 32"
                )
        return self

    def ddconfig(self, resolution: int) -> dict[str, Any]:
        """Constructor arguments of `Encoder` and `Decoder`, in the reference's names."""
        return {
            "double_z": False,
            "z_channels": self.z_channels,
            "resolution": resolution,
            "in_channels": 3,
            "out_ch": 3,
            "ch": self.ch,
            "ch_mult": list(self.ch_mult),
            "num_res_blocks": self.num_res_blocks,
            "attn_resolutions": list(self.attn_resolutions),
            "dropout": self.dropout,
        }


class TrainingParams(_Section):
    """One training run. A step is one batch: the generator's update, then the discriminator's."""

    steps: Count
    batch_size: Count = Field(description="over all processes together")
    crop: Count = Field(description="side of the training crops: pixels in stage 1, codes in stage 2")
    learning_rate: float = Field(gt=0.0)
    betas: Annotated[list[Annotated[float, Field(ge=0.0, lt=1.0)]], Field(min_length=2, max_length=2)]
    weight_decay: Weight = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float | None = Field(None, gt=0.0, description="largest norm of the generator's gradient; null: none")
    weight_ema: Share = Field(0.0, description="decay of the averaged weights that are kept; 0: the last weights")
    log_every: Count = Field(50, description="steps between two points of every logged curve")
    validate_every: Count = 500
    checkpoint_every: Count = 500

    @model_validator(mode="after")
    def _logs_whole_intervals(self) -> TrainingParams:
        # else a resumed run would log other means than an uninterrupted one
        if self.checkpoint_every % self.log_every:
            raise ValueError(
                f"checkpoint_every {self.checkpoint_every} is not a multiple of log_every {self.log_every}"
            )
        return self


class Stage1Training(TrainingParams):
    """Adds when the codebook and the discriminator set in."""

    quantize_from: int = Field(
        0, ge=0, description="step at which the codebook is set by k-means and used; 0: from the start, as it is"
    )
    discriminator_start: int | None = Field(None, ge=0, description="step; null: no discriminator")

    @model_validator(mode="after")
    def _sets_in_before_the_end(self) -> Stage1Training:
        starts = {"quantize_from": self.quantize_from, "discriminator_start": self.discriminator_start}
        for name, start in starts.items():
            if start is not None and start >= self.steps:
                raise ValueError(f"{name} {start} is not before the end of the training ({self.steps} steps)")
        return self


class QuantizerParams(_Section):
    """How the codebook learns."""

    update: Literal["ema", "gradient"] = Field(
        description="gradient: by the codebook loss, as the reference; ema: moving averages of the latents, "
        "dead codes revived"
    )
    beta: Weight = Field(0.25, description="weight of the commitment term")
    legacy: bool = Field(description="put beta on the codebook term instead, as Taming Transformers' first release")
    cosine: bool = Field(False, description="scale latents and codes to length 1; the nearest code is by angle")
    rotation: bool = Field(
        False, description="pass the gradient to the latents by the rotation trick instead of straight through"
    )
    decay: Share = Field(0.97, description="of the moving averages (ema)")
    revive_below: Weight = Field(
        0.05, description="codes used less than this share of the mean use are replaced by latents of the batch (ema)"
    )


class Stage1Loss(_Section):
    perceptual_network: PerceptualNetworkName = "squeezenet1_1"
    perceptual_weight: Weight
    colour_weight: Weight = Field(0.0, description="of the colour difference in CIELAB of squares of 4 × 4 pixels")
    codebook_weight: Weight = 1.0


class DiscriminatorParams(_Section):
    """PatchGAN (stage 1: on pictures; stage 2: on latents)."""

    ndf: Count = Field(description="channels of its first layer")
    n_layers: int = Field(ge=0, description="strided layers after the first")
    loss: Literal["hinge", "vanilla"] = "hinge"
    weight: Weight = Field(description="stage 1: times the adaptive weight; stage 2: the adversarial factor, 0: none")
    learning_rate_factor: float = Field(1.0, gt=0.0, description="its learning rate over the generator's")
    reference_order: bool = Field(
        description="true: a second forward pass of the updated generator for the discriminator, which also runs "
        "before it counts, as the reference does; false: one forward pass a step, none before it counts"
    )


class Stage2Discriminator(DiscriminatorParams):
    start: int = Field(0, ge=0, description="step from which it counts")


class Stage1Params(_Section):
    init_from: str | None = Field(
        None,
        min_length=1,
        description="folder of a VQGAN, e.g. an imported one, in place of the base, which then does not train",
    )
    colour_gain: float = Field(
        1.0,
        gt=0.0,
        description="how much more than to brightness a new encoder answers to red against blue, squared: to green "
        "against both; 1: as published",
    )
    base: Stage1Training
    domain: Stage1Training
    quantizer: QuantizerParams
    loss: Stage1Loss
    discriminator: DiscriminatorParams

    def training(self, domain: Stage1Domain) -> Stage1Training:
        return self.base if domain == "base" else self.domain


class EncodeParams(_Section):
    copies: Count = Field(description="rows of codes per training picture: the first plain, the others crops and flips")
    batch_size: Count = 16


class NetworkParams(_Section):
    """The style transfer network T(z_c, z_s)."""

    block_num: Count = 6
    residual: bool = True
    use_conv: bool = True
    use_selfatt: bool = True
    adain_start: bool = Field(False, description="start from the content with the style's means and deviations")
    adain_end: bool = Field(False, description="give the result the style's means and deviations")


DECODED = ("gram_weight", "perceptual_weight", "contrast_weight")
STYLE_NETWORK: Final = "efficientnet_lite0"


class Stage2Loss(_Section):
    content_weight: Weight = 1.0
    style_weight: Weight = 10.0
    codebook_weight: Weight = 1.0
    divide_by_variance: bool = Field(description="divide the latents' losses by the style codebook's variance")
    perceptual_network: PerceptualNetworkName = Field(STYLE_NETWORK, description="of the next three")
    gram_weight: Weight = Field(0.0, description="of the Gram distance of the decoded picture to the style's")
    perceptual_weight: Weight = Field(0.0, description="of the perceptual distance of the decoded picture to content's")
    contrast_weight: Weight = Field(0.0, description="of being nearer to the own painting than to the batch's others")

    @property
    def decoded(self) -> dict[str, float]:
        """Weights of what is asked of decoded pictures."""
        return self.model_dump(include=set(DECODED))


Objective = Literal["reference", "decoded"]


class Stage2Params(_Section):
    objective: Objective = Field(
        "decoded",
        description="reference: as published, on latents as they are, starting from the content, whatever adain_start, "
        "adain_end, divide_by_variance, perceptual_network, gram_weight, perceptual_weight and contrast_weight say; "
        "decoded: as these say",
    )
    stage1_content: str | None = Field(
        None, min_length=1, description="folder of a VQGAN that takes the place of the trained one of the photographs"
    )
    stage1_style: str | None = Field(None, min_length=1, description="likewise of the paintings")
    train: TrainingParams
    network: NetworkParams
    loss: Stage2Loss
    discriminator: Stage2Discriminator

    @model_validator(mode="after")
    def _asks_for_something(self) -> Stage2Params:
        loss = self.loss
        if not any((loss.content_weight, loss.style_weight, self.discriminator.weight, *loss.decoded.values())):
            raise ValueError(
                f"objective {self.objective} with loss.content_weight, loss.style_weight and discriminator.weight 0 "
                "leaves nothing to train for; the published weights are 1, 10 and 0.8"
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _as_published(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("objective") != "reference":
            return given
        unused = {"perceptual_network": STYLE_NETWORK, **dict.fromkeys(DECODED, 0.0)}
        off = {"adain_start": False, "adain_end": False}, {"divide_by_variance": False, **unused}
        sections = zip(("network", "loss"), off, strict=True)
        return given | {name: given[name] | values for name, values in sections if isinstance(given.get(name), dict)}


class EvaluateParams(_Section):
    network: PerceptualNetworkName = Field(
        "squeezenet1_1", description="of the distances of pairs: content, Gram, CFSD"
    )
    features: FeatureNetworkName = Field(
        "efficientnet_lite0", description="of the Fréchet and kernel distances of all pictures"
    )
    pairs: int = Field(ge=2, description="held-out (photograph, painting) pairs; fixed by the seed")
    batch_size: Count = 8
    magenta: bool = Field(False, description="Magenta's network as one more baseline; needs quantart[magenta]")


class ExportParams(_Section):
    variant: Variant = "discrete"
    name: str = Field("quantart", min_length=1, description="name in the model registry")


class PromoteParams(_Section):
    """What the evaluation of a registered version must show before the alias `champion` moves to it."""

    limits: list[str] = Field(
        description="each `metric <= number`, or `usage >= number` where larger is better; the version's own values"
    )
    not_worse: list[str] = Field(
        description="distances in which it must not be worse than the champion beyond noise, on the same pairs"
    )

    @property
    def parsed_limits(self) -> list[Limit]:
        return [parse_limit(text) for text in self.limits]

    @model_validator(mode="after")
    def _can_be_read(self) -> PromoteParams:
        for text in self.limits:
            parse_limit(text)
        for metric in self.not_worse:
            if larger_is_better(check_metric(metric)):
                raise ValueError(f"not_worse: {metric} is one value without an interval; put it into limits")
        return self


class Params(_Section):
    """All of `params.yaml`."""

    seed: int = Field(0, ge=0)
    data: DataParams
    model: ModelParams
    stage1: Stage1Params
    encode: EncodeParams
    stage2: Stage2Params
    evaluate: EvaluateParams
    export: ExportParams
    promote: PromoteParams

    @property
    def given_vqgans(self) -> dict[Stage1Domain, str | None]:
        """Folder of the VQGAN that takes the place of each training of stage 1; None: it is trained."""
        return {"base": self.stage1.init_from, "content": self.stage2.stage1_content, "style": self.stage2.stage1_style}

    @property
    def latent_side(self) -> int:
        """Codes along one side of a square picture."""
        return self.data.resolution // self.model.downsampling

    def select(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of dotted keys, each a section or a single parameter, as nested plain dicts.

        Raises:
            KeyError: no parameter has this key.
        """
        selected: dict[str, Any] = {}
        everything = self.model_dump()
        for key in keys:
            *sections, last = key.split(".")
            source, target = everything, selected
            try:
                for name in sections:
                    source, target = source[name], target.setdefault(name, {})
                target[last] = source[last]
            except (KeyError, TypeError):
                raise KeyError(key) from None
        return selected

    @model_validator(mode="after")
    def _fits_together(self) -> Params:
        if self.stage1.base.batch_size < 2:
            raise ValueError("stage1.base.batch_size 1 leaves nothing for one of the two domains; use at least 2")
        if self.stage2.stage1_content and self.stage2.stage1_style and not self.stage1.init_from:
            raise ValueError(
                "stage2.stage1_content and stage1_style are both given, so nothing goes on from the base, which would "
                "be trained all the same; name one of the two in stage1.init_from as well"
            )
        down = self.model.downsampling
        for key, pixels in {
            "data.resolution": self.data.resolution,
            "stage1.base.crop": self.stage1.base.crop,
            "stage1.domain.crop": self.stage1.domain.crop,
        }.items():
            if pixels % down:
                raise ValueError(
                    f"{key} {pixels} is not divisible by the downsampling {down} "
                    f"(model.ch_mult has {len(self.model.ch_mult)} levels); use {pixels // down * down or down}"
                )
            if pixels > self.data.short_side:
                raise ValueError(f"{key} {pixels} is larger than data.short_side {self.data.short_side}")
        if self.stage2.train.crop > self.latent_side:
            raise ValueError(
                f"stage2.train.crop {self.stage2.train.crop} is larger than the latents "
                f"({self.latent_side} codes: data.resolution {self.data.resolution} / {down})"
            )
        self._discriminator_fits("stage1.discriminator.n_layers", self.stage1.discriminator, self.stage1.domain.crop)
        if self.stage1.base.discriminator_start is not None:
            self._discriminator_fits("stage1.discriminator.n_layers", self.stage1.discriminator, self.stage1.base.crop)
        if self.stage2.discriminator.weight:
            self._discriminator_fits("stage2.discriminator.n_layers", self.stage2.discriminator, self.stage2.train.crop)
        for name, training in {"base": self.stage1.base, "domain": self.stage1.domain}.items():
            if self.stage1.loss.perceptual_weight and training.crop < SMALLEST_PERCEPTUAL:
                raise ValueError(
                    f"stage1.{name}.crop {training.crop} is too small for the perceptual loss; "
                    f"use at least {SMALLEST_PERCEPTUAL}, or set stage1.loss.perceptual_weight to 0"
                )
        decoded = [f"stage2.loss.{name}" for name, weight in self.stage2.loss.decoded.items() if weight]
        if decoded and self.stage2.train.crop * down < SMALLEST_PERCEPTUAL:
            raise ValueError(
                f"stage2.train.crop {self.stage2.train.crop} is {self.stage2.train.crop * down} pixels, too small for "
                f"{', '.join(decoded)}; use at least {-(-SMALLEST_PERCEPTUAL // down)} codes, or set these to 0"
            )
        return self

    @staticmethod
    def _discriminator_fits(key: str, disc: DiscriminatorParams, side: int) -> None:
        # one strided layer, n_layers - 1 more, then two 4 × 4 layers that take one off each side
        if side // 2 ** max(disc.n_layers, 1) - 2 < 1:
            raise ValueError(
                f"{key} {disc.n_layers} leaves nothing of a {side}-wide input (too small for the discriminator); "
                "use fewer layers or a larger crop"
            )
