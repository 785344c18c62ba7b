"""`model`: the VQGAN's shape, in the reference's names. Both domains have the same shape."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from quantart.params.section import Count, Fraction, Section

GROUPS = 32  # of a GroupNorm with at least as many channels


class ModelParams(Section):
    ch: Count
    """channels at full resolution"""
    ch_mult: list[Count] = Field(min_length=1)
    """multiplier of `ch` at each level; each level after the first halves the resolution"""
    num_res_blocks: Count
    """residual blocks per level"""
    attn_resolutions: list[Count]
    """sides in pixels of the feature maps that get attention"""
    z_channels: Count
    """channels of the encoder's output"""
    embed_dim: Count
    """length of a code"""
    n_embed: int = Field(ge=2)
    """number of codes in the codebook"""
    dropout: Fraction = 0.0

    @property
    def downsampling(self) -> int:
        """Pixels per code along one side."""
        return int(2 ** (len(self.ch_mult) - 1))

    @model_validator(mode="after")
    def _check_group_norm(self) -> ModelParams:
        widths = {f"ch·{m}": self.ch * m for m in self.ch_mult} | {"embed_dim": self.embed_dim}
        for name, width in widths.items():
            if width >= GROUPS and width % GROUPS:
                below = width // GROUPS * GROUPS
                raise ValueError(
                    f"{name} = {width} cannot be divided into {GROUPS} groups; "
                    f"use {below}, {below + GROUPS} or less than {GROUPS}"
                )
        return self

    def ddconfig(self, resolution: int) -> dict[str, Any]:
        """Constructor arguments of `Encoder` and `Decoder`, in the reference's names."""
        fixed = {"double_z": False, "resolution": resolution, "in_channels": 3, "out_ch": 3}
        return fixed | self.model_dump(exclude={"embed_dim", "n_embed"})
