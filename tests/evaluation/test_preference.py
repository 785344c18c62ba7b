from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from quantart.data.votes import Choice, Vote
from quantart.evaluation.preference import agreement, strengths, win_rate


def vote(choice: Choice, content: object = 0, style: object = 0, *, sides: str = "ab", voter: str = "x") -> Vote:
    return Vote("", voter, str(content), str(style), *sides, choice, 256)


def votes_for_b(won: Sequence[float], photographs: Sequence[int], paintings: Sequence[int]) -> list[Vote]:
    choices: dict[float, Choice] = {0.0: "left", 1.0: "right", 0.5: "equal"}
    return [vote(choices[w], c, s) for w, c, s in zip(won, photographs, paintings, strict=True)]


def test_votes_on_pictures_that_stand_alone_have_wilsons_interval() -> None:
    rate = win_rate(votes_for_b([1.0] * 30 + [0.0] * 10, range(40), range(40)), "a", "b")
    assert rate.value == 0.75
    # 40 independent votes: 0.598 to 0.858 (Wilson); the variance of 40 clusters is estimated with 39 in the divisor
    assert (rate.low, rate.high) == pytest.approx((0.598, 0.858), abs=0.004)
    turned = win_rate(votes_for_b([1.0] * 30 + [0.0] * 10, range(40), range(40)), "b", "a")
    assert (turned.value, turned.low, turned.high) == pytest.approx((0.25, 1 - rate.high, 1 - rate.low))


def test_votes_on_few_photographs_tell_less_than_on_many() -> None:
    won = np.repeat([1.0, 1.0, 1.0, 0.0], 10)
    alone = win_rate(votes_for_b(won, range(40), range(40)), "a", "b")
    four = win_rate(votes_for_b(won, np.repeat(range(4), 10), range(40)), "a", "b")
    assert four.value == alone.value
    assert four.high - four.low > 2 * (alone.high - alone.low)


def test_where_all_votes_are_alike_the_interval_is_that_of_as_many_pictures() -> None:
    for won, value in ((1.0, 1.0), (0.0, 0.0)):
        rate = win_rate(votes_for_b([won] * 24, np.repeat(range(6), 4), range(24)), "a", "b")
        assert rate.value == value
        assert rate.high - rate.low == pytest.approx(1.96**2 / (6 + 1.96**2))
    equal = win_rate(votes_for_b([0.5] * 24, range(24), range(24)), "a", "b")
    assert equal.value == 0.5
    assert equal.low < 0.35 < 0.65 < equal.high
    assert win_rate([vote("right")], "a", "b").low == pytest.approx(1 / (1 + 1.96**2))


def test_intervals_hold_the_true_rate_about_as_often_as_they_say() -> None:
    photographs, paintings = np.arange(48) % 12, np.arange(48)
    held = []
    for seed in range(200):
        draw = np.random.default_rng(seed)
        taste = draw.normal(size=12)[photographs] * 0.5 + draw.normal(size=48)
        rate = win_rate(votes_for_b((taste > 0).astype(float), photographs, paintings), "a", "b")
        held.append(rate.low < 0.5 < rate.high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_strengths_are_those_that_the_votes_were_drawn_from() -> None:
    draw, true = np.random.default_rng(0), {"a": 1.0, "b": 3.0, "c": 0.5}
    votes = []
    for number in range(3000):
        one, two = draw.choice(list(true), 2, replace=False)
        left = draw.random() < true[one] / (true[one] + true[two])
        votes.append(vote("left" if left else "right", number, sides=one + two))
    found = strengths(votes, ["a", "b", "c"])
    assert found == pytest.approx({"a": 0.5, "b": 0.75, "c": 1 / 3}, abs=0.03)


def test_who_always_won_has_a_finite_strength_and_who_was_never_compared_none() -> None:
    found = strengths([vote("right")] * 5 + [vote("left", sides="cd")], ["a", "b", "c", "d"])
    assert found == pytest.approx({"a": 0.5, "b": 5.5 / 6}, abs=1e-6)
    through = strengths([vote("left"), vote("left", sides="bc")], ["a", "b", "c"])
    assert through["c"] < through["b"] < through["a"]


def test_agreement_counts_twos_of_voters_whichever_side_the_pictures_were() -> None:
    same = [vote("left", 1, voter="x"), vote("right", 1, sides="ba", voter="y")]
    assert agreement(same) == (1.0, 1.0, 1)
    other = [vote("right", 2, voter="x"), vote("left", 2, voter="y"), vote("right", 2, voter="z")]
    found = agreement([*same, *other, vote("left", 3)])
    assert found is not None
    assert (found.share, found.n) == (2 / 4, 4)
    assert found.chance == pytest.approx((3 / 5) ** 2 + (2 / 5) ** 2)
    assert agreement([vote("left", 1), vote("left", 2)]) is None
