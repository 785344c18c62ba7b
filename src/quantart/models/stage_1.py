"""Stage 1: one domain's VQGAN (encoder E, codebook, decoder G)."""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from quantart.components.architectures import make_decoder, make_encoder
from quantart.components.quantizer import Quantized, VectorQuantizer
from quantart.models.pretrained import Pretrained, keeps_arguments
from quantart.models.shipped import Part


class ExperimentStage1(Pretrained):
    """Pictures to codes and back.

    Pictures are `(b, 3, h, w)` in [-1, 1]; latents and codes `(b, embed_dim, h / f, w / f)` with f the `downsampling`.

    Args:
        ddconfig: arguments of `Encoder` and `Decoder`; with `architecture` "lean" of `LeanEncoder` and `LeanDecoder`.
        n_embed: number of codes.
        embed_dim: length of a code.
        beta, legacy, cosine, rotation: see `VectorQuantizer`.
    """

    shipped_part: ClassVar[Part] = "stage1_base"

    @keeps_arguments
    def __init__(
        self,
        ddconfig: dict[str, Any],
        n_embed: int,
        embed_dim: int,
        beta: float = 0.25,
        legacy: bool = True,
        cosine: bool = False,
        rotation: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = make_encoder(ddconfig)
        self.decoder = make_decoder(ddconfig)
        self.quantize = VectorQuantizer(n_embed, embed_dim, **self.arguments_of(VectorQuantizer))
        self.quant_conv = nn.Conv2d(ddconfig["z_channels"], embed_dim, 1)
        self.post_quant_conv = nn.Conv2d(embed_dim, ddconfig["z_channels"], 1)

    @property
    def latents_decode(self) -> bool:
        """Whether the decoder reads what the encoder writes; false for codes that came `from_gumbel`."""
        written, read = self.quant_conv.weight.flatten(1).any(1), self.post_quant_conv.weight.flatten(2).any(2).any(0)
        return bool((written & read).any())

    def latents(self, x: Tensor) -> Tensor:
        """Pictures to latents before quantisation, of length 1 if the codes are."""
        return self.quantize.project(self.quant_conv(self.encoder(x)))

    def encode(self, x: Tensor) -> Quantized:
        """Pictures to codes."""
        return self.quantize(self.latents(x))

    def decode(self, z_q: Tensor) -> Tensor:
        """Codes (or latents) to pictures, not clamped."""
        return self.decoder(self.post_quant_conv(z_q))

    def forward(self, x: Tensor) -> tuple[Tensor, Quantized]:
        """Pictures to their reconstructions and codes."""
        quantized = self.encode(x)
        return self.decode(quantized.z_q), quantized
