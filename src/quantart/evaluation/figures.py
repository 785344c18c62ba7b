"""The picture that people look at first: held-out pairs and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantart.evaluation.rendering import ADAIN, COPIED_CONTENT, COPIED_STYLE, MODEL
from quantart.images import Picture, picture_grid

GRID_PAIRS = 12
_COLUMNS = {COPIED_CONTENT: "content", COPIED_STYLE: "style", MODEL: "output", ADAIN: "AdaIN baseline"}
_BLOCKS = 2
_CELL = 160
_GUTTER = 24


def transfer_grid(samples: Sequence[Mapping[str, Picture]]) -> Picture:
    """Pairs in two blocks side by side, each row: content, style, the model's output, the AdaIN baseline's.

    Args:
        samples: pictures by method, as in `Evaluation.samples`; the order is kept, down the first block first.
    """
    rows = [[sample[method] for method in _COLUMNS] for sample in samples]
    height = -(-len(rows) // _BLOCKS)
    titles = list(_COLUMNS.values())
    blocks = [picture_grid(rows[top : top + height], titles, cell=_CELL) for top in range(0, len(rows), height)]
    return _side_by_side(blocks)


def _side_by_side(blocks: list[Picture]) -> Picture:
    tallest = max(block.shape[0] for block in blocks)
    width = sum(block.shape[1] for block in blocks) + _GUTTER * (len(blocks) - 1)
    sheet = np.full((tallest, width, 3), 255, np.uint8)
    left = 0
    for block in blocks:
        sheet[: block.shape[0], left : left + block.shape[1]] = block
        left += block.shape[1] + _GUTTER
    return sheet
