from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from quantart.evaluation.resampling import draws, interval


def test_the_draws_are_always_the_same_and_take_every_pair_about_equally_often() -> None:
    drawn = draws(20, resamples=1000)
    assert drawn.shape == (1000, 20)
    assert drawn.dtype == torch.int64
    assert torch.equal(drawn, draws(20, resamples=1000))
    times = drawn.flatten().bincount(minlength=20)
    assert len(times) == 20
    assert times.min() > 900
    assert times.max() < 1100


def test_an_interval_of_means_is_that_of_the_normal_distribution() -> None:
    values = torch.from_numpy(np.random.default_rng(1).normal(size=200))
    low, high = interval(values.mean().item(), values[draws(200)].mean(1))
    half = 1.96 * values.std(correction=0).item() / 200**0.5
    assert low == pytest.approx(values.mean().item() - half, abs=0.02)
    assert high == pytest.approx(values.mean().item() + half, abs=0.02)


def test_a_shift_of_all_resampled_values_does_not_move_the_interval() -> None:
    resampled = torch.linspace(-1, 1, 1001, dtype=torch.float64)
    assert interval(3.0, resampled + 10) == pytest.approx(interval(3.0, resampled))
    assert interval(3.0, resampled) == pytest.approx((3 - 0.95, 3 + 0.95))


def test_unknown_values_are_left_out() -> None:
    nan = torch.tensor([math.nan])
    assert interval(1.0, torch.cat([nan, torch.zeros(5)])) == (1.0, 1.0)
    assert all(math.isnan(end) for end in interval(1.0, nan))
