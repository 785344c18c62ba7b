"""Words and numbers that several reports share."""

from __future__ import annotations

import math
from collections.abc import Iterable

from quantart.evaluation.baselines import (
    ADAIN,
    COLOUR_MATCHED,
    CONTENT_DECODED,
    COPIED_CONTENT,
    COPIED_STYLE,
    MAGENTA,
    STYLE_VQGAN,
)
from quantart.vocabulary.metrics import COMPOSITE_NAMES, FRECHET_NAMES, MODEL

TITLES = {
    MODEL: "the model",
    ADAIN: "AdaIN on the latents, untrained",
    CONTENT_DECODED: "content latents decoded as a painting",
    STYLE_VQGAN: "the photograph reconstructed by the style VQGAN",
    COLOUR_MATCHED: "the photograph with the painting's colour statistics",
    MAGENTA: "Magenta's arbitrary style transfer",
    COPIED_CONTENT: "the photograph itself",
    COPIED_STYLE: "the painting itself",
}
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
    """A warning about Fréchet distances, and metrics made of them, on fewer pictures than features; "" otherwise.

    Args:
        shape: of the features, `(pictures, width)`.
    """
    pictures, width = shape
    named = " and ".join(f"`{name}`" for name in metrics)
    if pictures >= width or not named:
        return ""
    return (
        f"{named} on {pictures} pictures with {width} features: mostly an effect of the number of pictures; "
        "judge by the kernel distance."
    )
