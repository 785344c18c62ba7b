"""Vector quantisation q(z): the nearest code in Euclidean distance (van den Oord et al., NeurIPS 2017)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantart.components.precision import full_precision

MAX_DISTANCES = 2**24
"""Distances held at a time: 64 MiB. More are computed part by part, which takes no longer."""
CPU_DISTANCES = 2**19
"""Distances held at a time on a CPU: 2 MiB stay in its cache, which is 3.5 times as fast."""
_PART = 64


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
    (codebook) term instead, like the first release of Taming Transformers, which trained older checkpoints.

    Args:
        n_e: number of codes.
        e_dim: length of a code.
        beta: weight β of the commitment term (of the codebook term if `legacy`).
        cosine: latents and codes are scaled to length 1, so that the nearest code is the one of the smallest angle
            (Yu et al., "Vector-quantized image modeling with improved VQGAN", ICLR 2022).
        rotation: the gradient passes by `rotate_to` instead of straight through.
    """

    def __init__(
        self,
        n_e: int,
        e_dim: int,
        beta: float = 0.25,
        legacy: bool = True,
        cosine: bool = False,
        rotation: bool = False,
    ) -> None:
        super().__init__()
        self.n_e = n_e
        self.e_dim = e_dim
        self.beta = beta
        self.legacy = legacy
        self.cosine = cosine
        self.rotation = rotation
        self.embedding = nn.Embedding(n_e, e_dim)
        nn.init.uniform_(self.embedding.weight, -1.0 / n_e, 1.0 / n_e)

    @property
    def codes(self) -> Tensor:
        """The codes in use, `(n_e, e_dim)`: of length 1 if `cosine`."""
        weight = self.embedding.weight
        return unit_length(weight) if self.cosine else weight

    def project(self, z: Tensor) -> Tensor:
        """Latents `(b, c, h, w)` as they are compared with codes: scaled to length 1 if `cosine`."""
        return unit_length(z) if self.cosine else z

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """Latents `(b, c, h, w)` to the indices of their nearest codes `(b, h, w)` int64."""
        z = self.project(z)
        b, c, h, w = z.shape
        codes = self.codes
        # no autocast: bfloat16 distances would choose wrong codes
        with torch.autocast(z.device.type, enabled=False):
            flat = full_precision(z).permute(0, 2, 3, 1).reshape(-1, c)
            size = max(1, (CPU_DISTANCES if z.device.type == "cpu" else MAX_DISTANCES) // self.n_e)
            return torch.cat([_smallest(_distances(part, codes)) for part in flat.split(size)]).view(b, h, w)

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices `(b, h, w)` to codes `(b, c, h, w)`."""
        return F.embedding(indices, self.codes).permute(0, 3, 1, 2).contiguous()

    def forward(self, z: Tensor) -> Quantized:
        """Latents `(b, c, h, w)` to codes, in float32 under autocast too."""
        z = self.project(full_precision(z))
        indices = self.nearest(z)
        codes = self.lookup(indices)
        codebook, commitment = F.mse_loss(codes, z.detach()), F.mse_loss(z, codes.detach())
        loss = self.beta * codebook + commitment if self.legacy else codebook + self.beta * commitment
        z_q = rotate_to(codes, z) if self.rotation and z.requires_grad else z + (codes - z).detach()
        return Quantized(z_q, loss, indices)


def _distances(latents: Tensor, codes: Tensor) -> Tensor:
    """Squared distances `(n, n_e)` of latents `(n, c)` to the codes `(n_e, c)`."""
    # ‖z‖² is the same for every code, but the reference adds it too, and its rounding decides near ties, of which an
    # untrained codebook has many: without it up to 2 % of the indices differ (16,384 codes)
    return torch.addmm(latents.square().sum(1, keepdim=True) + codes.square().sum(1), latents, codes.T, alpha=-2.0)


def _smallest(distances: Tensor) -> Tensor:
    """The index of each row's first smallest value, `(n, m)` → `(n,)`: `argmin`, which a CPU does value by value."""
    if distances.shape[1] % _PART:
        return distances.argmin(1)
    parts = distances.unflatten(1, (-1, _PART))
    part = parts.amin(2).argmin(1)
    return part * _PART + parts[torch.arange(len(parts), device=part.device), part].argmin(1)


def unit_length(z: Tensor) -> Tensor:
    """Each vector along dimension 1 divided by its length, in float32: latents `(b, c, h, w)` or codes `(n, c)`."""
    return F.normalize(full_precision(z), dim=1)


def rotate_to(codes: Tensor, z: Tensor) -> Tensor:
    """The codes `(b, c, h, w)`, with a gradient to the latents `z` that is rotated as each latent is to its code.

    The rotation trick of Fifty et al., "Restructuring vector quantization with the rotation trick" (2024), section 4:
    q = λ R z with λ = ‖q‖ / ‖z‖ and R = I − 2 r rᵀ + 2 q̂ ẑᵀ, r = (q̂ + ẑ) / ‖q̂ + ẑ‖, where λ and R are constants.
    """
    with torch.no_grad():
        unit_q, unit_z = F.normalize(codes, dim=1), F.normalize(z, dim=1)
        r = F.normalize(unit_q + unit_z, dim=1)
        scale = codes.norm(dim=1, keepdim=True) / z.norm(dim=1, keepdim=True).clamp_min(1e-12)
    turned = z - 2.0 * (z * r).sum(1, keepdim=True) * r + 2.0 * (z * unit_z).sum(1, keepdim=True) * unit_q
    turned = scale * turned
    return turned + (codes - turned).detach()  # exactly the codes, without rounding


def code_counts(indices: Tensor, n_e: int) -> Tensor:
    """How often each code occurs in `indices` (any shape): `(n_e,)` float32.

    Unlike `torch.bincount` it does not synchronise with the device.
    """
    flat = indices.reshape(-1)
    counts = torch.zeros(n_e, device=flat.device)
    return counts.scatter_add_(0, flat, torch.ones_like(flat, dtype=counts.dtype))


def codebook_statistics(counts: Tensor) -> dict[str, Tensor]:
    """Health of a codebook from its codes' counts `(n_e,)`: two 0-d tensors.

    `usage` is the fraction of codes that occur, in [0, 1]; `perplexity` is exp(entropy) of their distribution, in
    [1, n_e].
    """
    share = counts / counts.sum()
    entropy = -torch.special.xlogy(share, share).sum()
    return {"usage": (counts > 0).float().mean(), "perplexity": entropy.exp()}
