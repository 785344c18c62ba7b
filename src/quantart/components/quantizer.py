"""Vector quantisation q(z): the nearest code in Euclidean distance (van den Oord et al., NeurIPS 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.precision import full_precision


class Quantized(NamedTuple):
    """Latents after quantisation."""

    z_q: Tensor
    """`(b, c, h, w)`, the codes; the gradient passes straight through to the latents."""
    loss: Tensor
    """0-d, the codebook loss."""
    indices: Tensor
    """`(b, h, w)` int64 in [0, n_e)."""


class VectorQuantizer(nn.Module):
    """Replaces every latent by its nearest code e in the codebook `embedding`.

    Codebook loss: ‖sg[z] − e‖² + β‖z − sg[e]‖², each a mean over all elements. `legacy=True` puts β on the first
    (codebook) term instead, as the first release of Taming Transformers did, with which older checkpoints were trained.

    Args:
        n_e: number of codes.
        e_dim: length of a code.
        beta: weight β of the commitment term (of the codebook term if `legacy`).
    """

    def __init__(self, n_e: int, e_dim: int, beta: float = 0.25, legacy: bool = True) -> None:
        super().__init__()
        self.n_e = n_e
        self.e_dim = e_dim
        self.beta = beta
        self.legacy = legacy
        self.embedding = nn.Embedding(n_e, e_dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / n_e, 1.0 / n_e)

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Latents `(b, c, h, w)` to the indices of their nearest codes `(b, h, w)` int64."""
        b, c, h, w = z.shape
        codes = self.embedding.weight
        # bfloat16 distances would pick wrong codes, so autocast is off here
        with torch.autocast(z.device.type, enabled=False):
            flat = full_precision(z).permute(0, 2, 3, 1).reshape(-1, c)
            # ‖z − e‖² without ‖z‖², which is the same for every code
            distance = torch.addmm(codes.square().sum(1), flat, codes.T, alpha=-2.0)
        return distance.argmin(1).view(b, h, w)

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices `(b, h, w)` to codes `(b, c, h, w)`."""
        return self.embedding(indices).permute(0, 3, 1, 2).contiguous()

    def forward(self, z: Tensor) -> Quantized:
        """Latents `(b, c, h, w)` to codes, in float32 whatever the autocast."""
        z = full_precision(z)
        indices = self.nearest(z)
        codes = self.lookup(indices)
        codebook, commitment = F.mse_loss(codes, z.detach()), F.mse_loss(z, codes.detach())
        loss = self.beta * codebook + commitment if self.legacy else codebook + self.beta * commitment
        return Quantized(z + (codes - z).detach(), loss, indices)


def code_counts(indices: Tensor, n_e: int) -> Tensor:
    """How often each code occurs in `indices` (any shape): `(n_e,)` float32.

    Unlike `torch.bincount` it needs no synchronisation with the device.
    """
    flat = indices.reshape(-1)
    counts = torch.zeros(n_e, device=flat.device)
    return counts.scatter_add_(0, flat, torch.ones_like(flat, dtype=counts.dtype))


def codebook_statistics(counts: Tensor) -> dict[str, Tensor]:
    """Health of a codebook from its codes' counts `(n_e,)`.

    Returns:
        `usage`, the share of the codes that occur, in [0, 1], and `perplexity`, exp(entropy) of their distribution, in
        [1, n_e]; both 0-d.
    """
    share = counts / counts.sum()
    entropy = -torch.special.xlogy(share, share).sum()
    return {"usage": (counts > 0).float().mean(), "perplexity": entropy.exp()}
