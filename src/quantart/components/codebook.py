"""Codebooks that stay alive: k-means initialisation, moving averages, revival of dead codes, and their health.

These modules change the codes of a `VectorQuantizer` and keep their own buffers beside it, so the model's state dict is
that of the plain quantiser. Several processes arrive at the same codebook: latents and counts are gathered, and random
draws depend only on the seed and the step, so that a resumed run repeats them.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from quantart.components.distributed import all_rows, all_sum, from_first
from quantart.components.precision import full_precision
from quantart.components.quantizer import VectorQuantizer, code_counts, codebook_statistics

RESERVOIR_PER_CODE = 16
KMEANS_ROUNDS = 10


class KMeansCodebook(nn.Module):
    """Collects recent latents and sets the codebook to their k-means centres.

    Args:
        quantizer: not registered as a submodule, since the model owns it.
        seed: with the step, it decides all random draws.
    """

    def __init__(self, quantizer: VectorQuantizer, seed: int = 0) -> None:
        super().__init__()
        self._quantizer = [quantizer]  # a list hides the module from `parameters()` and `state_dict()`
        self.seed = seed
        self.reservoir: Tensor
        self.filled: Tensor
        self.register_buffer("reservoir", torch.zeros(RESERVOIR_PER_CODE * quantizer.n_e, quantizer.e_dim))
        self.register_buffer("filled", torch.tensor(0))

    @property
    def quantizer(self) -> VectorQuantizer:
        return self._quantizer[0]

    @torch.no_grad()
    def observe(self, z: Tensor, step: int) -> None:
        """Replace the oldest latents by some of this batch `(b, c, h, w)`, at most as many as there are codes."""
        rows = all_rows(_rows(self.quantizer.project(z)))
        if len(rows) > self.quantizer.n_e:
            pick = torch.randperm(len(rows), generator=self._generator(step))[: self.quantizer.n_e]
            rows = rows[pick.to(rows.device)]
        self.reservoir.copy_(torch.cat([self.reservoir[len(rows) :], rows]))
        self.filled.add_(len(rows)).clamp_(max=len(self.reservoir))

    @torch.no_grad()
    def initialise(self) -> None:
        """Set the codebook to the k-means centres of the latents observed so far.

        Raises:
            ValueError: no latents were observed yet.
        """
        filled = int(self.filled)
        if filled == 0:
            raise ValueError("no latents were observed yet; call observe() first")
        centres = kmeans(self.reservoir[-filled:], self.quantizer.n_e, KMEANS_ROUNDS, self._generator(0))
        self.quantizer.embedding.weight.copy_(from_first(centres))

    def _generator(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + step)


class EmaCodebook(KMeansCodebook):
    """Moves each code to the moving average of the latents that chose it, and revives unused codes.

    Let m be the decayed use of a code, n its use in this batch (both relative to the mean use of all codes), and x̄ the
    mean of the latents that chose it. Then m ← d·m + (1 − d)·n and e ← e + (1 − d)·n·(x̄ − e) / m. This equals the
    ratio of decayed sums and counts of van den Oord et al. (2017), appendix A. The gradient no longer moves the codes.

    Args:
        decay: d, in [0, 1).
        revive_below: codes with a smaller m are replaced by random recent latents.
    """

    def __init__(self, quantizer: VectorQuantizer, decay: float, revive_below: float, seed: int = 0) -> None:
        super().__init__(quantizer, seed)
        quantizer.embedding.requires_grad_(False)
        self.decay = decay
        self.revive_below = revive_below
        self.counts: Tensor
        self.register_buffer("counts", torch.ones(quantizer.n_e))

    def initialise(self) -> None:
        super().initialise()
        self.counts.fill_(1.0)

    @torch.no_grad()
    def update(self, z: Tensor, indices: Tensor, step: int) -> Tensor:
        """Learn from latents `(b, c, h, w)` that chose the codes `indices` `(b, h, w)`; returns the number revived."""
        codes = self.quantizer.embedding.weight
        codes.copy_(self.quantizer.codes)
        used = all_sum(code_counts(indices, self.quantizer.n_e))
        rows = _rows(self.quantizer.project(z))
        sums = all_sum(torch.zeros_like(codes).index_add_(0, indices.reshape(-1), rows))
        mean_use = used.mean()
        used, sums = used / mean_use, sums / mean_use
        self.counts.mul_(self.decay).add_(used, alpha=1.0 - self.decay)
        # the smallest counts are a rounding away from 0 / 0, but then `sums - used * codes` is 0 too
        moved = (1.0 - self.decay) * (sums - used[:, None] * codes) / self.counts[:, None].clamp_min(1e-12)
        codes.add_(moved)
        return self._revive(step)

    def _revive(self, step: int) -> Tensor:
        codes = self.quantizer.embedding.weight
        dead = self.counts < self.revive_below
        draw = torch.rand(len(codes), generator=self._generator(step)).to(codes.device)
        age = (draw * self.filled).long()  # 0: the newest latent; never one of the rows not yet filled
        codes.copy_(torch.where(dead[:, None], self.reservoir[len(self.reservoir) - 1 - age], codes))
        self.counts.masked_fill_(dead, 1.0)
        return dead.sum()


class CodeWindow(nn.Module):
    """The last `WINDOW` indices chosen by all processes together, and the codebook's health according to them."""

    WINDOW = 65_536

    def __init__(self, n_e: int) -> None:
        super().__init__()
        self.n_e = n_e
        self.indices: Tensor
        self.register_buffer("indices", torch.full((self.WINDOW,), -1, dtype=torch.int32))

    @torch.no_grad()
    def add(self, indices: Tensor) -> None:
        """Replace the oldest indices by those of a batch (any shape)."""
        rows = all_rows(indices.flatten().int())[-self.WINDOW :]
        self.indices.copy_(torch.cat([self.indices[len(rows) :], rows]))

    def statistics(self) -> dict[str, Tensor]:
        """`codebook_statistics` of the indices so far."""
        counts = code_counts(self.indices.long() + 1, self.n_e + 1)  # the first counts places not filled yet
        return codebook_statistics(counts[1:])


def kmeans(points: Tensor, k: int, rounds: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm from random points `(n, c)` to centres `(k, c)`; one that no point chose is drawn again."""
    n = len(points)

    def draw() -> Tensor:
        # distinct while there are enough points
        return points[torch.randperm(max(n, k), generator=generator)[:k].to(points.device) % n]

    centres = draw()
    for _ in range(rounds):
        nearest = torch.cat([_nearest(part, centres) for part in torch.split(points, 65_536)])
        counts = code_counts(nearest, k)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        means = sums / counts.clamp_min(1.0)[:, None]
        centres = torch.where(counts[:, None] > 0, means, draw())
    return centres


def _nearest(points: Tensor, centres: Tensor) -> Tensor:
    return torch.addmm(centres.square().sum(1), points, centres.T, alpha=-2.0).argmin(1)


def _rows(z: Tensor) -> Tensor:
    """`(b, c, h, w)` to vectors `(b·h·w, c)`, in full precision."""
    return full_precision(z.detach()).permute(0, 2, 3, 1).reshape(-1, z.shape[1])
