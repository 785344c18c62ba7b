"""Which pictures can be painted, and at which size."""

from __future__ import annotations

import math

import numpy as np

from quantart.errors import UserError
from quantart.images.decode import ImageError

MIN_SIDE = 32  # fewest pixels of each side, of a picture that is given and of one that is painted
MAX_SIZE = 8192  # most pixels of the long side of a painted picture
MAX_PAINTED = 2048 * 2048  # most pixels of a painted picture: memory was measured at that size (docs/stylize.md)
MIN_REFINED = 64  # fewest pixels of each side of a refined picture: the losses compare it at half its size too
MAX_REFINED = 1024 * 1024  # most pixels of a refined picture: gradients need it as a whole
MAX_STEPS = 10_000  # of refining
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


def check_steps(steps: int, most: int = MAX_STEPS) -> int:
    """The steps of refining; a `UserError` unless they are a whole number from 0 to `most`."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 0 <= steps <= most:
        raise UserError(f"refine = {steps!r}: must be a whole number of steps from 0 to {most}")
    return steps


def painted_size(
    height: int, width: int, size: int | None, max_size: int = MAX_SIZE, *, refined: bool = False
) -> tuple[int, int]:
    """Height and width in pixels at which a picture of `height` × `width` is painted; its aspect is kept.

    Args:
        size: pixels of the long side. None means the picture's own, but at most `DEFAULT_SIZE`, as far as the other
            limits allow.
        max_size: most pixels of the long side, whether `size` is given or not.
        refined: whether the picture is refined, which has limits of its own.

    Raises:
        UserError: no picture can be painted at that size.
        ImageError: this picture can't.
    """
    check_size(size)
    check_sides(height, width)
    short, long = sorted((height, width))
    min_side, max_painted, done = (
        (MIN_REFINED, MAX_REFINED, "refined") if refined else (MIN_SIDE, MAX_PAINTED, "painted")
    )
    least = math.ceil(min_side * long / short)
    most = min(MAX_SIZE, math.isqrt(max_painted * long // short))
    given = f"{width} × {height} pixels"
    if least > most:
        raise ImageError(given, f"one side may be at most {MAX_SIZE // min_side} times the other where it is {done}")
    if least > max_size:
        needed = f"each side is {done} with at least {min_side} pixels, the long side with at least {least}"
        raise ImageError(given, f"{needed}, and the limit is max_size = {max_size}")
    most = min(most, max_size)
    if size is None:
        size = min(max(min(long, DEFAULT_SIZE), least), most)
    if not least <= size <= most:
        reason = f"{done}, each side has at least {min_side} pixels, and the picture at most {max_painted} in all"
        raise ImageError(f"{given}, size = {size}", f"for this picture it may be {least} to {most}: {reason}")
    return max(min_side, round(height * size / long)), max(min_side, round(width * size / long))
