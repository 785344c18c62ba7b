"""What stands still in a video stands still in its painting, by graphs and by torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quantart.images.arrays import Picture
from quantart.images.decode import read_image
from quantart.models.alpha_beta import Fidelity
from quantart.models.fidelity import FidelityControl
from quantart.models.shipped import shipped
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.hold import Hold
from quantart.stylize.painter import Painter
from quantart.stylize.stylizer import Stylizer

from ..conftest import SAMPLE
from ..videos import noisy_clip

Painting = Painter[Any, Any]


def changes(painter: Painting, pictures: list[Picture], where: Any, hold: Hold | None) -> float:
    """Mean change of the painted pictures from one to the next."""
    style = read_image(SAMPLE / "paintings/gauguin_two_women.jpg", max_pixels=10**8)
    painted = np.array([painter.paint(each, style, Fidelity(1.0, 1.0), hold=hold) for each in pictures], float)
    return float(np.abs(np.diff(painted, axis=0))[:, where].mean())


@pytest.mark.parametrize("library", ["graphs", "torch"])
def test_flicker_is_at_most_a_third_and_movement_stays(library: str, control: FidelityControl) -> None:
    painter: Painting = GraphPainter(shipped("stage2_discrete")) if library == "graphs" else Stylizer(control)
    pictures, still = noisy_clip(5)
    alone, held = (changes(painter, pictures, still, hold) for hold in (None, Hold()))
    assert alone > 1  # it does flicker
    assert held <= alone / 3
    alone, held = (changes(painter, pictures, ~still, hold) for hold in (None, Hold()))
    assert held == pytest.approx(alone, rel=0.1)


def test_slow_change_is_not_held_forever(control: FidelityControl) -> None:
    hold, latents = Hold(), np.zeros((1, 1, 4, 4), np.float32)
    kept = [float(hold(np.full((32, 32, 3), level, np.uint8), latents + level).max()) for level in range(100, 131, 1)]
    assert kept[:5] == [100] * 5  # as noise is
    assert kept[-1] > 120


def test_it_goes_on_where_it_was_saved(tmp_path: Any) -> None:
    draw = np.random.default_rng(0)
    one = Hold()
    steps = [
        (draw.integers(0, 12, (32, 32, 3)).astype(np.uint8), draw.normal(size=(1, 2, 4, 4)).astype(np.float32))
        for _ in range(4)
    ]
    for step in steps[:2]:
        one(*step)
    one.save(tmp_path / "a.npz")
    other = Hold()
    other.restore(tmp_path / "a.npz")
    for step in steps[2:]:
        assert np.array_equal(one(*step), other(*step))
