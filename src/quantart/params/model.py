"""`model`: the VQGAN's shape, in the reference's names. Both domains have the same shape."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from quantart.params.section import Count, Fraction, Section
from quantart.vocabulary.shape import downsampling

GROUPS = 32  # of a GroupNorm with at least as many channels


class ModelParams(Section):
    architecture: Literal["reference", "lean"] = "reference"
    """lean: no norm, no attention, space to depth at the entry: cheap, and sharp at 256 pixels and more"""
    patch: Literal[1, 2, 4] = 1
    """side in pixels of the squares that enter as one; more than 1 with lean only"""
    ch: Count
    """channels at the first level"""
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
        return downsampling({"patch": self.patch, "ch_mult": self.ch_mult})

    @model_validator(mode="after")
    def _check_architecture(self) -> ModelParams:
        if self.architecture == "reference" and self.patch > 1:
            raise ValueError(f"patch {self.patch} needs architecture: lean; the reference's is 1")
        if self.architecture == "lean" and (self.attn_resolutions or self.dropout):
            raise ValueError(
                "architecture: lean has no attention and no dropout; use attn_resolutions: [], dropout: 0.0"
            )
        return self

    @model_validator(mode="after")
    def _check_group_norm(self) -> ModelParams:
        widths = {"embed_dim": self.embed_dim}  # the transfer network's
        if self.architecture == "reference":
            widths |= {f"ch·{m}": self.ch * m for m in self.ch_mult}
        for name, width in widths.items():
            if width >= GROUPS and width % GROUPS:
                below = width // GROUPS * GROUPS
                raise ValueError(
                    f"{name} = {width} cannot be divided into {GROUPS} groups; "
                    f"use {below}, {below + GROUPS} or less than {GROUPS}"
                )
        return self

    def ddconfig(self, resolution: int) -> dict[str, Any]:
        """What `make_encoder` and `make_decoder` take, in the reference's names."""
        codebook = {"embed_dim", "n_embed"}
        if self.architecture == "lean":
            shape = self.model_dump(exclude=codebook | {"attn_resolutions", "dropout"})
            return {"resolution": resolution} | shape
        fixed = {"double_z": False, "resolution": resolution, "in_channels": 3, "out_ch": 3}
        return fixed | self.model_dump(exclude=codebook | {"architecture", "patch"})
