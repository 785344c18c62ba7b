"""Which pictures can be painted, and at which size."""

from __future__ import annotations

import math

import numpy as np

from quantart.errors import UserError
from quantart.images.decode import ImageError

MIN_SIDE = 32  # fewest pixels of each side, of a picture that is given and of one that is painted
MAX_SIZE = 8192  # most pixels of the long side of a painted picture
MAX_PAINTED = 2048 * 2048  # most pixels of a painted picture: memory was measured at that size (docs/stylize.md)
MAX_PIXELS = 250_000_000  # most pixels of a picture that is given; a larger one is refused from its header, undecoded
DEFAULT_SIZE = 1024  # most pixels of the long side where no size is asked for: larger ones take minutes on a CPU


def check_sides(height: int, width: int) -> None:
    """Raise an `ImageError` unless each side of a picture has at least `MIN_SIDE` pixels."""
    if min(height, width) < MIN_SIDE:
        raise ImageError(f"{width} × {height} pixels", f"each side must have at least {MIN_SIDE}")


def check_size(size: int | None) -> None:
    """Raise a `UserError` if no picture can be painted at that size."""
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, int | np.integer) or not MIN_SIDE <= size <= MAX_SIZE:
        limits = f"{MIN_SIDE} to {MAX_SIZE}"
        raise UserError(f"size = {size!r}: must be a whole number from {limits}, the pixels of the long side")


def painted_size(height: int, width: int, size: int | None, max_size: int = MAX_SIZE) -> tuple[int, int]:
    """Height and width in pixels at which a picture of `height` × `width` is painted; its aspect is kept.

    Args:
        size: pixels of the long side. None means the picture's own, but at most `DEFAULT_SIZE`, as far as the other
            limits allow.
        max_size: most pixels of the long side, whether `size` is given or not.

    Raises:
        UserError: no picture can be painted at that size.
        ImageError: this picture can't.
    """
    check_size(size)
    check_sides(height, width)
    short, long = sorted((height, width))
    least = math.ceil(MIN_SIDE * long / short)
    most = min(MAX_SIZE, math.isqrt(MAX_PAINTED * long // short))
    given = f"{width} × {height} pixels"
    if least > most:
        raise ImageError(given, f"one side may be at most {MAX_SIZE // MIN_SIDE} times the other")
    if least > max_size:
        needed = f"each side is painted with at least {MIN_SIDE} pixels, the long side with at least {least}"
        raise ImageError(given, f"{needed}, and the limit is max_size = {max_size}")
    most = min(most, max_size)
    if size is None:
        size = min(max(min(long, DEFAULT_SIZE), least), most)
    if not least <= size <= most:
        reason = f"each side at least {MIN_SIDE} pixels, {MAX_PAINTED} pixels in all"
        raise ImageError(f"{given}, size = {size}", f"for this picture it may be {least} to {most}: {reason}")
    return max(MIN_SIDE, round(height * size / long)), max(MIN_SIDE, round(width * size / long))
