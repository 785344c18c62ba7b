"""Muon: momentum whose matrices are orthogonalised (Jordan et al., "Muon: An optimizer for hidden layers", 2024)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

OUTER = ("conv_in", "conv_out", "quant_conv", "quant_conv_real", "post_quant_conv")
"""Names of the convolutions that read or write pictures, latents or codes. Muon is for the layers between them."""
MOMENTUM = 0.95


def inner_weights(model: nn.Module) -> list[Tensor]:
    """The trained weights of a model's convolutions, but for the `OUTER` ones."""
    convolutions = ((name, each) for name, each in model.named_modules() if isinstance(each, nn.Conv2d))
    inner = (each.weight for name, each in convolutions if name.rpartition(".")[2] not in OUTER)
    return [weight for weight in inner if weight.requires_grad]


class Muon(torch.optim.Optimizer):
    """Each weight `(out, in, k, k)` moves as a matrix `(out, in·k·k)`, by its momentum's nearest orthogonal matrix.

    `torch.optim.Muon` takes matrices alone. The weight decay is decoupled, as AdamW's.
    Each group of `params` has its rate as `lr`.
    """

    def __init__(self, params: Any, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                state["momentum"].lerp_(weight.grad, 1.0 - MOMENTUM)
                direction = weight.grad.lerp(state["momentum"], MOMENTUM).flatten(1)  # Nesterov's
                rows, columns = direction.shape
                turned = orthogonalised(direction) * max(1.0, rows / columns) ** 0.5
                weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                weight.add_(turned.unflatten(1, weight.shape[1:]), alpha=-group["lr"])


def orthogonalised(matrix: Tensor, steps: int = 5) -> Tensor:
    """U Vᵀ of the singular value decomposition U S Vᵀ, about: the singular values come to lie between 0.7 and 1.2.

    A Newton-Schulz iteration of fifth order with Jordan's coefficients, in bfloat16, which suffices for it.
    """
    x = matrix.bfloat16()
    tall = x.shape[0] > x.shape[1]
    x = x.mT if tall else x
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrix.dtype)
