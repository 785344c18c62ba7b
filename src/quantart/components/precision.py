"""Where half precision is not enough."""

from __future__ import annotations

import torch
from torch import Tensor


def full_precision(x: Tensor) -> Tensor:
    """`x` in float32 if it is in half precision (under autocast), else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
