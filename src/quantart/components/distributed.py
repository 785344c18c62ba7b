"""Sums and gathers over all processes of a training run; a single process gets back what it gave."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """Number of processes."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def all_sum(x: Tensor) -> Tensor:
    """Sum of `x` over the processes; no gradient passes."""
    x = x.detach()
    if world_size() > 1:
        x = x.clone()
        dist.all_reduce(x)
    return x


def all_rows(x: Tensor) -> Tensor:
    """`x` of every process, concatenated in the order of ranks; all must have the same shape. No gradient."""
    x = x.detach().contiguous()
    if world_size() == 1:
        return x
    parts = [torch.empty_like(x) for _ in range(world_size())]
    dist.all_gather(parts, x)
    return torch.cat(parts)


def own_rows(x: Tensor) -> Tensor:
    """This process's part of the rows that `all_rows` gives."""
    return x.chunk(world_size())[rank()]


def joint_mean(x: Tensor) -> Tensor:
    """Mean of `x` over the processes; gradients pass to all of them."""
    return _JointSum.apply(x) / world_size() if world_size() > 1 else x


class _JointSum(torch.autograd.Function):
    """The sum over the processes; its gradient is the sum of theirs, since each process's loss depends on it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return all_sum(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return all_sum(gradient)


def from_first(x: Tensor) -> Tensor:
    """Overwrites `x` on every process by that of the first one."""
    if world_size() > 1:
        dist.broadcast(x, src=0)
    return x
