"""The shape of a VQGAN, as parameters and checkpoints both write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def downsampling(ddconfig: Mapping[str, Any]) -> int:
    """Pixels per code along one side: the patch that enters as one, doubled at every level after the first."""
    return int(ddconfig.get("patch", 1) * 2 ** (len(ddconfig["ch_mult"]) - 1))
