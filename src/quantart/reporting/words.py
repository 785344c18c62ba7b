"""Words and numbers that several reports share."""

from __future__ import annotations

import math
from collections.abc import Iterable

from quantart.vocabulary.metrics import COMPOSITE_NAMES, FRECHET_NAMES

UNITS = {"transfer": "pairs", "reconstruction": "pictures"}
NO_INTERVAL = "no interval"


def number(value: float, digits: int = 4) -> str:
    """A number with so many significant digits; a dash for NaN."""
    if math.isnan(value):
        return "–"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def signed(value: float) -> str:
    """A number with three significant digits and its sign."""
    sign = "+" if value > 0 else "−" if value < 0 else ""
    return sign + number(abs(value), 3)


def depends_on_set_size(metric: str) -> bool:
    """Whether a metric is or contains a Fréchet distance; the kernel distance is reliable on few pictures too."""
    return metric.startswith((*FRECHET_NAMES, *COMPOSITE_NAMES))


def too_few_pictures(shape: tuple[int, ...], metrics: Iterable[str]) -> str:
    """A warning about Fréchet distances on fewer pictures than features, given their `(n, d)`; "" otherwise."""
    pictures, width = shape
    named = " and ".join(f"`{name}`" for name in metrics)
    if pictures >= width or not named:
        return ""
    return (
        f"{named} on {pictures} pictures with {width} features: mostly an effect of the number of pictures; "
        "judge by the kernel distance."
    )
