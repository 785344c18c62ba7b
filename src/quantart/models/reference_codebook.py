"""Codebooks of other kinds as the one that our networks have, whose codes are chosen by Euclidean distance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from quantart.errors import UserError
from quantart.models.pretrained import some

GROUPS = 32  # of the style transfer network's normalisation: the length of a code must be a multiple
OWN = "quantize.embedding.weight"
EMA_BUFFERS = ("quantize.embedding.cluster_size", "quantize.embedding.embed_avg")
NUMBERING = "quantize.used"  # Taming's `remap`: the codes that the second stage was trained on
GUMBEL = ("quantize.proj.weight", "quantize.proj.bias", "quantize.embed.weight")

AROUND = ("quant_conv.weight", "quant_conv.bias", "post_quant_conv.weight")


class Codebook(NamedTuple):
    """A VQGAN's tensors with a codebook of our kind."""

    state: dict[str, Tensor]
    dropped: dict[str, int]  # what was left out, with the number of its tensors
    gumbel: bool  # whether it was converted by `from_gumbel`


def own_codebook(state: Mapping[str, Tensor], source: str) -> Codebook:
    """The tensors of a stage-1 VQGAN, its codebook converted if it is of another known kind.

    Raises:
        UserError: it is of an unknown kind; its keys are named.
    """
    dropped = {
        "moving averages behind the codebook": sum(key in state for key in EMA_BUFFERS),
        "numbering of the codes": sum(key == NUMBERING for key in state),
    }
    kept = {key: value for key, value in state.items() if key not in {*EMA_BUFFERS, NUMBERING}}
    theirs = [key for key in kept if key.startswith("quantize.")]
    if OWN in kept or not theirs:
        return Codebook(kept, dropped, False)
    if sorted(theirs) != sorted(GUMBEL):
        fault = f"{source}: its codebook is of a kind that can't be converted: {some(theirs)}"
        raise UserError(fault, f"known are {OWN} (nearest code) and {', '.join(GUMBEL)} (Gumbel)")
    return Codebook(from_gumbel(kept, state.get(NUMBERING), source), dropped, True)


def stored_shape(state: Mapping[str, Tensor]) -> dict[str, int]:
    """`n_embed` and `embed_dim` of a Gumbel codebook before `from_gumbel`, as its configuration says them."""
    n_embed, embed_dim = state[GUMBEL[2]].shape
    return {"n_embed": n_embed, "embed_dim": embed_dim}


def from_gumbel(state: Mapping[str, Tensor], used: Tensor | None, source: str) -> dict[str, Tensor]:
    """A VQGAN whose codes are the rows v_n of `embed`, chosen by the largest score w_n·z + b_n of `proj`.

    In training a code is drawn (Jang et al., "Categorical reparameterization with Gumbel-softmax", ICLR 2017); here it
    is the most probable one. Codes and latents become e_n = (w_n, c_n, βv_n) and z' = (s z, s, 0). Then ‖z' − e_n‖² is
    a number that does not depend on n minus 2s(w_n·z + b_n), if c_n² − 2s c_n + ‖w_n‖² + β²‖v_n‖² + 2s b_n = 0. So the
    nearest code is the one with the largest score. The 1 × 1 convolutions around the codebook make z' and read v_n, so
    every picture keeps its codes, and these decode to the same picture.

    Args:
        used: indices of the codes that may be chosen; None: all.
    """
    shapes = {key: tuple(state[key].shape) if key in state else () for key in (*GUMBEL, *AROUND)}
    n, width = (*shapes[GUMBEL[2]], 0, 0)[:2]
    z, z_channels = (*shapes[AROUND[0]], 0, 0)[:2]
    fitting = ((n, z, 1, 1), (n,), (n, width), (z, z_channels, 1, 1), (z,), (z_channels, width, 1, 1))
    if wrong := [f"{key} {shapes[key]}" for key, shape in zip(shapes, fitting, strict=True) if shapes[key] != shape]:
        raise UserError(f"{source}: the shapes around its Gumbel codebook contradict each other: {', '.join(wrong)}")
    w, b, v, before, before_bias, after = (state[key].detach().double() for key in shapes)
    w = w.flatten(1)
    if used is not None:
        w, b, v = w[used.long()], b[used.long()], v[used.long()]
    w, b = w - w.mean(0), b - b.max()  # neither changes which score is the largest
    beta = w.norm() / v.norm() if w.any() and v.any() else 1.0
    squares = w.square().sum(1) + (beta * v).square().sum(1)
    s = squares.max().sqrt()
    c = s - (s.square() - squares - 2 * s * b).clamp_min(0).sqrt()
    spare = -(z + 1 + width) % GROUPS
    codes = F.pad(torch.cat([w, c[:, None], beta * v], 1), (spare, 0))
    weight = F.pad(s * before, (0, 0, 0, 0, 0, 0, spare, 1 + width))
    bias = F.pad(torch.cat([s * before_bias, s[None]]), (spare, width))
    after = F.pad(after / beta, (0, 0, 0, 0, spare + z + 1, 0))
    kept = {key: value for key, value in state.items() if key not in GUMBEL}
    return kept | {key: value.float() for key, value in zip((OWN, *AROUND), (codes, weight, bias, after), strict=True)}
