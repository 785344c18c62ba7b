"""Muon: momentum whose matrices are orthogonalised (Jordan et al., "Muon: An optimizer for hidden layers", 2024)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from quantart.machine.device import precision

OUTER = ("conv_in", "conv_out", "quant_conv", "quant_conv_real", "post_quant_conv")
"""Names of the convolutions that read or write pictures, latents or codes. Muon is for the layers between them."""
MOMENTUM = 0.95
STEPS = 5  # of the iteration


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
            for pairs in _by_shape(group["params"]):
                directions = torch.stack([self._direction(weight, gradient) for weight, gradient in pairs])
                rows, columns = directions.shape[1:]
                turned = orthogonalised(directions, self._dtype) * max(1.0, rows / columns) ** 0.5
                for (weight, _), each in zip(pairs, turned, strict=True):
                    weight.mul_(1.0 - group["lr"] * group["weight_decay"])
                    weight.add_(each.unflatten(1, weight.shape[1:]), alpha=-group["lr"])

    def _direction(self, weight: Tensor, gradient: Tensor) -> Tensor:
        """Nesterov's momentum as a matrix, after adding the present gradient to it."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        state["momentum"].lerp_(gradient, 1.0 - MOMENTUM)
        return gradient.lerp(state["momentum"], MOMENTUM).flatten(1)

    @cached_property
    def _dtype(self) -> torch.dtype:
        device = self.param_groups[0]["params"][0].device
        return torch.bfloat16 if precision(cpu=device.type == "cpu") == "bf16" else torch.float32


def _by_shape(weights: list[Tensor]) -> list[list[tuple[Tensor, Tensor]]]:
    """Weights and their gradients, to be multiplied together: small products cost more to start than to compute."""
    found: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
    for weight in weights:
        if weight.grad is not None:
            found.setdefault(weight.shape, []).append((weight, weight.grad))
    return list(found.values())


def orthogonalised(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """U Vᵀ of the singular value decompositions U S Vᵀ, about: the singular values come to lie between 0.7 and 1.2.

    A Newton-Schulz iteration of fifth order with Jordan's coefficients. bfloat16 suffices for it, but where a processor
    does not compute it natively it takes eight times as long as float32.

    Args:
        matrices: `(n, rows, columns)`.
        dtype: of the products.
    """
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)
