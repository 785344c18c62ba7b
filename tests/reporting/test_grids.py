import numpy as np
import pandas as pd
import pytest

from quantart.images.arrays import Picture
from quantart.reporting.grids import ranked_grid, ranked_pairs, transfer_grid
from quantart.vocabulary.methods import ADAIN, COLOUR_MATCHED, COPIED_CONTENT, COPIED_STYLE, MAGENTA, MODEL

METHODS = (COPIED_CONTENT, COPIED_STYLE, MODEL, ADAIN)
METRIC = "texture_squeezenet1_1"


def colour(pair: int, column: int) -> tuple[int, int, int]:
    return (20 * pair, 40 * column, 128)


def samples(pairs: int, methods: tuple[str, ...] = METHODS) -> list[dict[str, Picture]]:
    return [
        {method: np.full((16, 16, 3), colour(pair, column), np.uint8) for column, method in enumerate(methods)}
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


def test_more_baselines_make_more_columns() -> None:
    for methods in ((*METHODS, COLOUR_MATCHED), (*METHODS, COLOUR_MATCHED, MAGENTA)):
        grid = transfer_grid(samples(4, methods))
        assert cells(grid) == [
            [colour(pair, column) for pair in (row, row + 2) for column in range(len(methods))] for row in range(2)
        ]


def table(values: list[float]) -> pd.DataFrame:
    """Of the model, out of order, and of a baseline that would be ranked the other way round."""
    pairs = np.random.default_rng(0).permutation(len(values)).tolist()
    model = pd.DataFrame({"method": MODEL, "pair": pairs, METRIC: [values[pair] for pair in pairs]})
    return pd.concat([model, model.assign(method=ADAIN, **{METRIC: -model[METRIC]})])


def test_pairs_are_ranked_by_the_models_values() -> None:
    values = [5.0, 3.0, 9.0, 1.0, 7.0, 2.0, 8.0, 4.0, 6.0, 0.0, 10.0]
    assert ranked_pairs(table(values), METRIC) == {"best": [9, 3, 5], "median": [7, 0, 8], "worst": [6, 2, 10]}
    assert ranked_pairs(table(values), METRIC, each=1) == {"best": [9], "median": [0], "worst": [10]}


@pytest.mark.parametrize(
    ("count", "ranked"),
    [
        (1, {"best": [0], "median": [], "worst": []}),
        (2, {"best": [0], "median": [], "worst": [1]}),
        (3, {"best": [0], "median": [1], "worst": [2]}),
        (8, {"best": [0, 1], "median": [3, 4], "worst": [6, 7]}),
    ],
)
def test_no_pair_is_ranked_twice_where_there_are_few(count: int, ranked: dict[str, list[int]]) -> None:
    assert ranked_pairs(table([float(pair) for pair in range(count)]), METRIC) == ranked


def test_equal_pairs_are_ranked_by_their_numbers() -> None:
    assert ranked_pairs(table([1.0] * 30), METRIC, each=2) == {"best": [0, 1], "median": [14, 15], "worst": [28, 29]}


def test_the_grid_shows_the_ranked_pairs_with_their_values() -> None:
    values = [5.0, 3.0, 9.0, 1.0, 7.0, 2.0]
    pictures = dict(enumerate(samples(6)))
    grid = ranked_grid(pictures, table(values), METRIC, each=1)
    assert cells(grid) == [[colour(pair, column) for column in range(4)] for pair in (3, 1, 2)]
    left = int(np.argmax((grid == colour(3, 0)).all(2).any(0)))
    assert (grid[:, 1:left] != 255).any()  # the titles
    other = ranked_grid(pictures, table([v + 0.5 for v in values]), METRIC, each=1)
    assert other.shape != grid.shape or (other != grid).any()
