"""The fixed held-out pairs on which every model is judged."""

from __future__ import annotations

import math

import numpy as np


def held_out_pairs(n_content: int, n_style: int, pairs: int, seed: int) -> list[tuple[int, int]]:
    """Indices `(content, style)` of the pairs; the same arguments always give the same list.

    Every picture is used about equally often (the numbers of uses differ by at most one), and no pair repeats before
    all `n_content · n_style` of them were used. With fewer pairs than pictures of a domain, the seed draws which
    pictures take part. The first pairs go through the photographs in order, each with another painting.

    Raises:
        ValueError: a domain without a picture, or no pair.
    """
    if min(n_content, n_style, pairs) < 1:
        raise ValueError(f"{pairs} pairs of {n_content} photographs and {n_style} paintings: each must be at least 1")
    draw = np.random.default_rng(seed)
    contents = sorted(draw.permutation(n_content)[:pairs].tolist())
    styles = draw.permutation(n_style)[:pairs].tolist()
    # Walking both lists in step meets each combination of a round once; the next round starts one painting further.
    round_length = math.lcm(len(contents), len(styles))
    return [(contents[k % len(contents)], styles[(k + k // round_length) % len(styles)]) for k in range(pairs)]
