import numpy as np
import pytest
import torch
from torch import Tensor

from quantart.evaluation.estimates import Estimate
from quantart.evaluation.resampling import RESAMPLES, Sharing, estimate, resampled_changes


def influence(values: np.ndarray) -> Tensor:
    """Of the mean."""
    return torch.from_numpy((values - values.mean()) / len(values))


def ends(values: np.ndarray, sharing: Sharing) -> tuple[float, float]:
    _, low, high = estimate(float(values.mean()), influence(values), sharing)
    return low, high


def test_pictures_that_stand_alone_have_the_interval_of_their_mean() -> None:
    values = np.random.default_rng(0).normal(5.0, 1.0, 400)
    low, high = ends(values, Sharing.none(400))
    error = values.std() / 20
    assert (low - values.mean()) / error == pytest.approx(-1.96, abs=0.15)
    assert (high - values.mean()) / error == pytest.approx(1.96, abs=0.15)


def test_pairs_that_share_a_photograph_tell_less_than_as_many_that_do_not() -> None:
    photograph = np.arange(48) % 12
    values = np.random.default_rng(0).normal(size=12)[photograph]
    alone = ends(values, Sharing.none(48))
    shared = ends(values, Sharing.of(photograph.tolist(), range(48)))
    assert (shared[1] - shared[0]) / (alone[1] - alone[0]) == pytest.approx(2.0, rel=0.15)  # 12 tell as much as 48


def test_intervals_hold_the_true_mean_about_as_often_as_they_say() -> None:
    photograph, painting = np.arange(48) % 12, (np.arange(48) + np.arange(48) // 24) % 24
    sharing = Sharing.of(photograph.tolist(), painting.tolist())
    found = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        values = draw.normal(size=12)[photograph] + draw.normal(size=24)[painting] + draw.normal(size=48)
        low, high = ends(values, sharing)
        found.append(low < 0 < high)
    assert 0.87 <= np.mean(found) <= 0.99


def test_resampling_draws_the_same_every_time_and_is_linear() -> None:
    sharing = Sharing.of([0, 0, 1, 2], "abca")
    one, two = (influence(np.random.default_rng(seed).normal(size=4)) for seed in (0, 1))
    assert resampled_changes(one, sharing).shape == (RESAMPLES,)
    torch.testing.assert_close(resampled_changes(one, sharing), resampled_changes(one, sharing), rtol=0, atol=0)
    torch.testing.assert_close(resampled_changes(-2 * two, sharing), -2 * resampled_changes(two, sharing))


def test_equal_values_have_no_width_and_two_pairs_no_interval() -> None:
    assert ends(np.full(5, 2.5), Sharing.none(5)) == (2.5, 2.5)
    assert np.isnan(ends(np.ones(2), Sharing.none(2))).all()


def test_pairs_are_apart_where_they_share_neither_picture() -> None:
    sharing = Sharing.of(["a", "a", "b"], ["x", "y", "x"])
    assert sharing.apart.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 0]]
    assert sharing.other_style.tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_one_photograph_in_all_pairs_leaves_the_spread_of_the_pairs() -> None:
    values = np.random.default_rng(0).normal(size=40)
    alone, one = ends(values, Sharing.none(40)), ends(values, Sharing.of([0] * 40, range(40)))
    assert one[1] - one[0] == pytest.approx(alone[1] - alone[0], rel=0.15)


def test_an_estimate_shows_its_interval_where_it_has_one() -> None:
    assert str(Estimate(0.25, 0.2, 0.31)) == "0.25 (0.2 to 0.31)"
    assert str(Estimate(0.25)) == "0.25"
    assert [Estimate(0.25, 0.2, 0.31).has_interval, Estimate(0.25).has_interval] == [True, False]
