import numpy as np
import pandas as pd
import pytest

from quantart.evaluation.summary import SetScore, by_method, interval, summarise


def test_interval_of_normal_values_is_about_two_standard_errors_to_each_side() -> None:
    values = np.random.default_rng(0).normal([5.0, -1.0], [1.0, 0.1], size=(400, 2))
    low, high = interval(values)
    error = values.std(0) / np.sqrt(400)
    np.testing.assert_allclose((low - values.mean(0)) / error, [-1.96, -1.96], atol=0.15)
    np.testing.assert_allclose((high - values.mean(0)) / error, [1.96, 1.96], atol=0.15)


def test_interval_is_the_same_every_time() -> None:
    values = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_array_equal(interval(values), interval(values))


def test_interval_of_equal_values_has_no_width_and_one_value_has_none() -> None:
    np.testing.assert_array_equal(interval(np.full((5, 1), 2.5)), [[2.5], [2.5]])
    assert np.isnan(interval(np.ones((1, 2)))).all()


def test_summary_holds_means_of_pairs_and_values_of_sets() -> None:
    table = pd.DataFrame(
        {
            "method": ["model", "model", "adain"],
            "pair": [0, 1, 0],
            "content": ["a", "b", "a"],
            "gram": [1.0, 2.0, 5.0],
            "colour": [10.0, 30.0, 50.0],
        }
    )
    scores = by_method(summarise(table, {"model": [SetScore("fd", 7.0)]}))
    assert list(scores) == ["model", "adain"]
    assert list(scores["model"]) == ["gram", "colour", "fd"]
    gram, colour, fd = scores["model"].values()
    assert (gram.value, gram.n) == (1.5, 2)
    assert 0.95 <= gram.low <= gram.value <= gram.high <= 2.05
    assert (colour.value, colour.n) == (20.0, 2)
    assert 9.0 <= colour.low <= colour.high <= 31.0
    assert (fd.value, fd.n) == (7.0, 2)
    assert np.isnan(fd.low)
    assert scores["adain"]["gram"].value == pytest.approx(5.0)
