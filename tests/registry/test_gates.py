import math

import pytest

from quantart.evaluation.resampling import Estimate
from quantart.registry.gates import Check, check_difference, check_limits
from quantart.vocabulary.limits import Limit, parse_limit

GRAM = "gram_squeezenet1_1"


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("gram_squeezenet1_1 <= 1.1", Limit(GRAM, True, 1.1)),
        (" colour_rgb<=8e-2 ", Limit("colour_rgb", True, 0.08)),
        ("usage >= .5", Limit("usage", False, 0.5)),
        ("kid <= -1", Limit("kid", True, -1.0)),
    ],
)
def test_a_limit_is_read(text: str, limit: Limit) -> None:
    assert parse_limit(text) == limit
    assert parse_limit(str(limit)) == limit


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gram_squeezenet1_1 < 1.1", r"is no limit; write `metric <= number`"),
        ("gram_squeezenet1_1 <= nan", r"is no limit"),
        ("gram_squeezenet1_1 <= 1.1 and usage >= 1", r"is no limit"),
        ("", r"is no limit"),
        ("gram_squeezenet <= 1.1", r"did you mean gram_squeezenet1_1"),
        ("gram_squeezenet1_1 >= 1.1", r"smaller gram_squeezenet1_1 is better; write it with <="),
        ("usage <= 0.5", r"larger usage is better; write it with >="),
    ],
)
def test_what_is_no_limit_says_what_would_be(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_limit(text)


def test_the_value_decides_and_its_interval_is_shown() -> None:
    limits = [Limit(GRAM, True, 1.0), Limit("usage", False, 0.5)]
    passed = check_limits(limits, {GRAM: Estimate(1.0, 0.9, 1.2), "usage": Estimate(0.5)})
    assert [check.passed for check in passed] == [True, True]
    assert str(passed[0]) == "passed  gram_squeezenet1_1 <= 1: measured 1 (0.9 to 1.2)"
    failed = check_limits(limits, {GRAM: Estimate(1.001, 0.9, 1.2), "usage": Estimate(0.499)})
    assert failed == [
        Check("gram_squeezenet1_1 <= 1", False, "measured 1.001 (0.9 to 1.2)"),
        Check("usage >= 0.5", False, "measured 0.499"),
    ]
    assert str(failed[1]).startswith("FAILED  usage >= 0.5: ")


@pytest.mark.parametrize(
    ("verdict", "passed"), [("better", True), ("not told apart", True), ("worse", False), ("", False)]
)
def test_not_worse_means_better_or_not_told_apart(verdict: str, passed: bool) -> None:
    assert check_difference(GRAM, Estimate(0.1, -0.1, 0.3), verdict, "version 2").passed is passed


def test_a_difference_is_said_with_its_sign() -> None:
    worse = check_difference(GRAM, Estimate(0.25, 0.1, 0.4), "worse", "version 2")
    assert str(worse) == (
        "FAILED  gram_squeezenet1_1 not worse than the champion: "
        "+0.25 (0.1 to 0.4) against version 2, pair by pair: worse"
    )
    alone = check_difference(GRAM, Estimate(-0.25, math.nan, math.nan), "", "version 2")
    assert alone.figures == "-0.25 against version 2, pair by pair: no interval"
