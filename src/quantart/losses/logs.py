"""What a loss has to log: 0-d tensors by name."""

from __future__ import annotations

from torch import Tensor

Logs = dict[str, Tensor]


def detached(logs: Logs) -> Logs:
    """The same tensors without their graphs."""
    return {name: value.detach() for name, value in logs.items()}
