"""Which sizes of pictures are painted, and in which size."""

from __future__ import annotations

import math

import numpy as np

from quantart.errors import UserError
from quantart.images import ImageError, Picture

MIN_SIDE = 32
"""Pixels that each side must have, of what is given and of what is painted."""
MAX_SIZE = 8192
"""Pixels that the long side of what is painted may have."""
MAX_PAINTED = 2048 * 2048
"""Pixels that what is painted may have in all: what the memory was measured with (docs/stylize.md)."""
MAX_PIXELS = 50_000_000
"""Of one picture that is given; larger ones are refused from their header, undecoded."""
DEFAULT_SIZE = 1024
"""Pixels of the long side, where the picture itself is larger and no size is asked for: a picture takes minutes beyond
it on a CPU."""


def check_side(picture: Picture, name: str) -> None:
    """`check_sides` of a picture."""
    check_sides(picture.shape[0], picture.shape[1], name)


def check_sides(height: int, width: int, name: str) -> None:
    """See that each side has `MIN_SIDE` pixels.

    Raises:
        ImageError: beginning with `name`.
    """
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"{name}: {width} × {height} pixels; each side must have at least {MIN_SIDE}")


def check_size(size: int | None) -> None:
    """See that some picture can be painted in that size.

    Raises:
        UserError: it can't.
    """
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not MIN_SIDE <= size <= MAX_SIZE:
        raise UserError(
            f"size = {size!r}: must be a whole number from {MIN_SIDE} to {MAX_SIZE}, the pixels of the long side"
        )


def painted_size(height: int, width: int, size: int | None, max_size: int = MAX_SIZE) -> tuple[int, int]:
    """Height and width in pixels in which a picture of `height` × `width` is painted; its aspect is kept.

    Args:
        size: pixels of the long side; None: the picture's own, or `DEFAULT_SIZE` where that is less, as far as the
            limits allow.
        max_size: pixels of the long side at most, whether `size` is given or not.

    Raises:
        UserError: no picture can be painted in that size.
        ImageError: this one can't; the message begins with "content".
    """
    check_size(size)
    short, long = sorted((height, width))
    least = math.ceil(MIN_SIDE * long / short)
    most = min(MAX_SIZE, math.isqrt(MAX_PAINTED * long // short))
    if least > most:
        raise ImageError(
            f"content: {width} × {height} pixels; one side may be at most {MAX_SIZE // MIN_SIDE} times the other"
        )
    if least > max_size:
        raise ImageError(
            f"content: {width} × {height} pixels; each side is painted with at least {MIN_SIDE} pixels, the long side "
            f"with at least {least}, and the limit is max_size = {max_size}"
        )
    most = min(most, max_size)
    if size is None:
        size = min(max(min(long, DEFAULT_SIZE), least), most)
    if not least <= size <= most:
        raise ImageError(
            f"content: {width} × {height} pixels, size = {size}; for this picture it may be {least} to {most}: each "
            f"side at least {MIN_SIDE} pixels, {MAX_PAINTED} pixels in all"
        )
    return max(MIN_SIDE, round(height * size / long)), max(MIN_SIDE, round(width * size / long))
