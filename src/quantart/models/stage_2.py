"""Stage 2: style transfer between the latents of two VQGANs."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor, nn

from quantart.components.architectures import make_decoder, make_encoder
from quantart.components.quantizer import VectorQuantizer, unit_length
from quantart.components.style_transfer import StyleTransferModule
from quantart.components.twin_transfer import PaintingFeatures, TwinTransferModule
from quantart.errors import UserError
from quantart.models.pretrained import Pretrained, keeps_arguments, some
from quantart.models.shipped import Part
from quantart.models.stage_1 import ExperimentStage1
from quantart.vocabulary.names import VARIANTS, TransferNetworkName, Variant
from quantart.vocabulary.painting import PAINTING_WEIGHTS

_TRANSFER_NETWORKS: dict[str, type[StyleTransferModule | TwinTransferModule]] = {
    "reference": StyleTransferModule,
    "twin": TwinTransferModule,
}


class Transferred(NamedTuple):
    """Output of the style transfer."""

    z: Tensor
    """`(b, c, h, w)`, input of the decoder: codes of the style codebook, or `unquantised` itself."""
    unquantised: Tensor
    """`(b, c, h, w)`, the network's output before quantisation."""
    loss: Tensor
    """0-d codebook loss; 0 if not quantised."""
    indices: Tensor | None
    """`(b, h, w)` int64; None if not quantised."""


class ExperimentStage2(Pretrained):
    """A content picture and a style picture to the content painted in that style.

    `encoder`, `quant_conv` and `quantize_enc` come from the content VQGAN; `encoder_real`, `quant_conv_real`,
    `quantize_dec`, `post_quant_conv` and `decoder` from the style VQGAN. Only `model_x2y` is trained in stage 2. The
    variant "continuous" works on latents and has no codebooks.

    Args:
        ddconfig, n_embed, embed_dim, beta, legacy, cosine, rotation: as of both `ExperimentStage1`.
        transfer_network: the published one, `reference`, or `twin` (`components.twin_transfer`).
        block_num, residual, use_conv, use_selfatt: see `StyleTransferModule`.
        width, coarse_blocks, fine_blocks: see `TwinTransferModule`.
        painting_weights: weights of the `PaintingLoss` for refining; a weight left out takes its default.

    Raises:
        UserError: an unknown variant, transfer network or weight.
    """

    shipped_part: ClassVar[Part] = "stage2_discrete"

    @keeps_arguments
    def __init__(
        self,
        ddconfig: dict[str, Any],
        n_embed: int,
        embed_dim: int,
        block_num: int = 6,
        residual: bool = True,
        use_conv: bool = True,
        use_selfatt: bool = True,
        variant: Variant = "discrete",
        beta: float = 0.25,
        legacy: bool = True,
        cosine: bool = False,
        rotation: bool = False,
        transfer_network: TransferNetworkName = "reference",
        width: int = 64,
        coarse_blocks: int = 4,
        fine_blocks: int = 3,
        painting_weights: dict[str, float] = PAINTING_WEIGHTS,
    ) -> None:
        super().__init__()
        if transfer_network not in _TRANSFER_NETWORKS:
            names = ", ".join(_TRANSFER_NETWORKS)
            raise UserError(f"transfer_network = {transfer_network!r}: unknown", f"use one of {names}")
        if variant not in VARIANTS:
            raise UserError(f"variant = {variant!r}: unknown", f"use one of {', '.join(VARIANTS)}")
        if unknown := dict(painting_weights).keys() - PAINTING_WEIGHTS.keys():
            known = ", ".join(PAINTING_WEIGHTS)
            raise UserError(f"painting_weights = {painting_weights}: unknown: {some(unknown)}", f"known are {known}")
        self.variant = variant
        self.cosine = cosine
        z_channels = ddconfig["z_channels"]
        self.encoder = make_encoder(ddconfig)
        self.encoder_real = make_encoder(ddconfig)
        self.decoder = make_decoder(ddconfig)
        if variant == "discrete":
            self.quantize_enc = VectorQuantizer(n_embed, embed_dim, **self.arguments_of(VectorQuantizer))
            self.quantize_dec = VectorQuantizer(n_embed, embed_dim, **self.arguments_of(VectorQuantizer))
        self.quant_conv = nn.Conv2d(z_channels, embed_dim, 1)
        self.quant_conv_real = nn.Conv2d(z_channels, embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, z_channels, 1)
        network = _TRANSFER_NETWORKS[transfer_network]
        self.model_x2y = network(embed_dim, **self.arguments_of(network))

    @classmethod
    def from_stage1(cls, content: ExperimentStage1, style: ExperimentStage1, **options: Any) -> Self:
        """Put a new style transfer network between two trained VQGANs, whose weights are copied.

        Args:
            options: the constructor's `variant` and arguments of the style transfer network.

        Raises:
            UserError: the two VQGANs differ in shape.
        """
        if content.config != style.config:
            differing = [key for key in content.config if content.config[key] != style.config[key]]
            raise UserError(f"the content and the style VQGAN differ in {', '.join(differing)}", "both must be alike")
        model = cls(**style.config, **options)
        model.encoder.load_state_dict(content.encoder.state_dict())
        model.quant_conv.load_state_dict(content.quant_conv.state_dict())
        model.encoder_real.load_state_dict(style.encoder.state_dict())
        model.quant_conv_real.load_state_dict(style.quant_conv.state_dict())
        model.post_quant_conv.load_state_dict(style.post_quant_conv.state_dict())
        model.decoder.load_state_dict(style.decoder.state_dict())
        if model.variant == "discrete":
            model.quantize_enc.load_state_dict(content.quantize.state_dict())
            model.quantize_dec.load_state_dict(style.quantize.state_dict())
        return model

    def without_codebooks(self) -> Self:
        """The continuous variant with the same weights, which the two share."""
        other = type(self)(**self.config | {"variant": "continuous"}).eval()
        for name, _ in list(other.named_children()):
            setattr(other, name, self.get_submodule(name))
        return other

    def content_latents(self, x: Tensor) -> Tensor:
        """Content pictures `(b, 3, h, w)` to what `transfer` takes: codes, or latents in the continuous variant."""
        z = self.projected(self.quant_conv(self.encoder(x)))
        return self.quantize_enc(z).z_q if self.variant == "discrete" else z

    def style_latents(self, y: Tensor) -> Tensor:
        """Style pictures `(b, 3, h, w)` to what `transfer` takes: codes, or latents in the continuous variant."""
        z = self.projected(self.quant_conv_real(self.encoder_real(y)))
        return self.quantize_dec(z).z_q if self.variant == "discrete" else z

    def style_features(self, y: Tensor) -> Tensor | PaintingFeatures:
        """What `transfer` takes in place of the style latents of `y`, with all that is the same for any content."""
        return self.model_x2y.style_features(self.style_latents(y))

    def transfer(self, content: Tensor, style: Tensor | PaintingFeatures, quantize: bool = True) -> Transferred:
        """Content and style `(b, c, h, w)`, from the methods above, to latents of the style domain.

        Args:
            quantize: replace the output by its nearest style codes; ignored by the continuous variant.
        """
        h = self.projected(self.model_x2y(content, style))
        if not quantize or self.variant == "continuous":
            return Transferred(h, h, h.new_zeros(()), None)
        quantized = self.quantize_dec(h)
        return Transferred(quantized.z_q, h, quantized.loss, quantized.indices)

    def projected(self, z: Tensor) -> Tensor:
        """Latents `(b, c, h, w)` as the decoder was trained on: scaled to length 1 if the codes are."""
        return unit_length(z) if self.cosine else z

    def decode(self, z: Tensor) -> Tensor:
        """Latents or codes of the style domain `(b, c, h, w)` to pictures `(b, 3, f·h, f·w)`, not clamped."""
        return self.decoder(self.post_quant_conv(z))

    def forward(self, content: Tensor, style: Tensor) -> Tensor:
        """Pictures `(b, 3, h, w)` in [-1, 1] to stylised pictures of the content's size."""
        return self.decode(self.transfer(self.content_latents(content), self.style_latents(style)).z)
