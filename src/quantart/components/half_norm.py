"""Group normalisation in bfloat16 on a CPU, optionally followed by swish, and its gradient in few passes.

PyTorch's own backward pass in bfloat16 with channels last is slower than that in float32. This one works through the
map in float32, in parts that fit a core's cache, and keeps only its bfloat16 input for the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LEAST = 2**20
"""Elements of a batch's map from which this gradient pays; on smaller ones PyTorch's in float32 is faster."""
PART = 2**16
"""Elements of one part for each thread: 256 KiB in float32."""


def pays(x: Tensor) -> bool:
    """Whether to normalise `x` in bfloat16: under a CPU's autocast, if it is large or needs no gradient."""
    if x.dtype != torch.bfloat16 or x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return False
    return x.numel() >= LEAST or not torch.is_grad_enabled()


class HalfGroupNorm(torch.autograd.Function):
    """y = swish(γ x̂ + β), or without swish, x̂ = (x − μ) / σ over the pixels and channels of a group.

    x, y: `(b, c, h, w)` bfloat16; γ, β: `(c,)` float32. Statistics are float32's. Only first derivatives.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, swish: bool) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        batch, channels, height, width = x.shape
        y, mean, rstd = torch.native_group_norm(x, weight, bias, batch, channels, height * width, groups, eps)
        ctx.save_for_backward(x, weight, bias, mean.float(), rstd.float())
        ctx.swish = swish
        return F.silu(y, inplace=True) if swish else y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        batch, channels, height, width = x.shape
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        answer = torch.empty_like(x, memory_format=torch.channels_last)
        rows = max(1, PART * torch.get_num_threads() // channels)
        of_weight, of_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        for i in range(batch):
            xs, gradients, answers = (_pixels(t[i]).split(rows) for t in (x, gradient, answer))
            mu, inverse = (t[i].repeat_interleave(channels // t.shape[1]) for t in (mean, rstd))
            scale = weight * inverse
            shift = bias - mu * scale
            kept, total, product = [], torch.zeros_like(weight), torch.zeros_like(weight)
            for part, g in zip(xs, gradients, strict=True):
                wide, g = part.float(), g.float()
                if ctx.swish:
                    g = torch.ops.aten.silu_backward(g, torch.addcmul(shift, wide, scale))
                kept.append(g)
                total += g.sum(0)
                product += (g * wide).sum(0)
            product = (product - total * mu) * inverse  # Σ g x̂
            of_weight += product
            of_bias += total
            # ∂x = (γ g − mean(γ g) − x̂ mean(γ g x̂)) / σ, means over the group, as a line in g and x
            count = height * width * (channels // mean.shape[1])
            mean_g, mean_gx = (_over_group(weight * t, mean.shape[1]) / count for t in (total, product))
            slope = -inverse.square() * mean_gx
            constant = -inverse * mean_g - mu * slope
            for part, g, out in zip(xs, kept, answers, strict=True):
                out.copy_(torch.addcmul(constant, part.float(), slope).addcmul_(g, scale))
        return answer, of_weight, of_bias, None, None, None


def _pixels(x: Tensor) -> Tensor:
    """`(c, h, w)`, channels last in memory, to `(h·w, c)` in the same memory."""
    return x.permute(1, 2, 0).view(-1, x.shape[0])


def _over_group(values: Tensor, groups: int) -> Tensor:
    """`(c,)`: each channel's sum over its group."""
    return values.view(groups, -1).sum(1).repeat_interleave(len(values) // groups)
