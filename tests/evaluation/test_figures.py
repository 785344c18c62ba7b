import numpy as np

from quantart.evaluation.figures import transfer_grid
from quantart.evaluation.rendering import ADAIN, COPIED_CONTENT, COPIED_STYLE, MODEL
from quantart.images import Picture

METHODS = (COPIED_CONTENT, COPIED_STYLE, MODEL, ADAIN)


def colour(pair: int, column: int) -> tuple[int, int, int]:
    return (20 * pair, 60 * column, 128)


def samples(pairs: int) -> list[dict[str, Picture]]:
    return [
        {method: np.full((16, 16, 3), colour(pair, column), np.uint8) for column, method in enumerate(METHODS)}
        for pair in range(pairs)
    ]


def cells(grid: Picture) -> list[list[tuple[int, ...]]]:
    """Colours of the pictures in each row of the grid, from left to right."""
    found: list[list[tuple[int, ...]]] = []
    for line in grid:
        blue = line[(line[:, 2] == 128) & (line[:, 0] != 128)]  # the titles' edges are grey
        colours = list(dict.fromkeys(tuple(int(value) for value in pixel) for pixel in blue))
        if colours and (not found or found[-1] != colours):
            found.append(colours)
    return found


def test_pairs_go_down_the_left_block_then_down_the_right_one() -> None:
    grid = transfer_grid(samples(6))
    assert cells(grid) == [[colour(pair, column) for pair in (row, row + 3) for column in range(4)] for row in range(3)]


def test_an_odd_pair_leaves_its_place_white() -> None:
    grid = transfer_grid(samples(3))
    assert cells(grid)[1] == [colour(1, column) for column in range(4)]
    assert (grid[-80, grid.shape[1] // 2 + 40 :] == 255).all()


def test_one_pair_makes_one_block() -> None:
    assert cells(transfer_grid(samples(1))) == [[colour(0, column) for column in range(4)]]
