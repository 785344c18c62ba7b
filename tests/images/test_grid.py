"""Grids of pictures."""

from __future__ import annotations

import numpy as np
import pytest

from quantart.images.grid import picture_grid

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def test_grid_places_pictures_under_their_titles():
    red, blue = np.full((10, 20, 3), RED, np.uint8), np.full((20, 10, 3), BLUE, np.uint8)
    grid = picture_grid([[red, blue], [blue]], ["first", "second"], ["one", "two"], cell=100)
    is_red, is_blue = (grid == RED).all(-1), (grid == BLUE).all(-1)
    assert is_red.sum() == 100 * 50  # fitted into its cell, aspect kept
    assert is_blue.sum() == 2 * 50 * 100
    assert tuple(grid[-1, -1]) == WHITE  # the second row's second cell
    rows, columns = np.nonzero(is_red)
    above, left = grid[: rows.min() - 25], grid[:, : columns.min()]
    assert (above[:, columns.min() :] < 128).any()
    assert (left < 128).any()


def test_grid_without_titles_has_no_room_for_them():
    grid = picture_grid([[np.zeros((8, 8, 3), np.uint8)]], cell=50)
    assert grid.shape == (58, 58, 3)


def test_grid_refuses_titles_that_do_not_fit():
    picture = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ValueError, match="1 column titles for 2 columns"):
        picture_grid([[picture, picture]], ["only"])
    with pytest.raises(ValueError, match="at least one picture"):
        picture_grid([[]])


def test_a_long_title_stays_within_its_column():
    black = np.zeros((8, 8, 3), np.uint8)
    long_title = picture_grid([[black, black]], ["", "an endless title " * 20], cell=100)
    title_band = long_title[:20]
    assert (title_band[:, :104] == 255).all()
    assert (title_band[:, 104:] < 128).any()
