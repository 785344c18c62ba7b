"""Parameters of tests that train small networks from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

SMALL = Path(__file__).with_name("small.yaml")


def from_scratch() -> dict[str, Any]:
    """What the file says: small networks of the reference's shape, and nothing that was trained before."""
    params: dict[str, Any] = yaml.safe_load(SMALL.read_text())
    return params
