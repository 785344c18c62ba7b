import math

import pytest

from quantart.evaluation.estimates import Estimate
from quantart.registry.gates import Check, check_difference, check_limits
from quantart.vocabulary.metrics import Limit

TEXTURE = "texture_squeezenet1_1"


def test_the_value_decides_and_its_interval_is_shown() -> None:
    limits = [Limit(TEXTURE, True, 1.0), Limit("usage", False, 0.5)]
    passed = check_limits(limits, {TEXTURE: Estimate(1.0, 0.9, 1.2), "usage": Estimate(0.5)})
    assert [check.passed for check in passed] == [True, True]
    assert str(passed[0]) == "passed  texture_squeezenet1_1 <= 1: measured 1 (0.9 to 1.2)"
    failed = check_limits(limits, {TEXTURE: Estimate(1.001, 0.9, 1.2), "usage": Estimate(0.499)})
    assert failed == [
        Check("texture_squeezenet1_1 <= 1", False, "measured 1.001 (0.9 to 1.2)"),
        Check("usage >= 0.5", False, "measured 0.499"),
    ]
    assert str(failed[1]).startswith("FAILED  usage >= 0.5: ")


@pytest.mark.parametrize(
    ("verdict", "passed"), [("better", True), ("not told apart", True), ("worse", False), ("", False)]
)
def test_not_worse_means_better_or_not_told_apart(verdict: str, passed: bool) -> None:
    assert check_difference(TEXTURE, Estimate(0.1, -0.1, 0.3), verdict, "version 2").passed is passed


def test_a_difference_is_said_with_its_sign() -> None:
    worse = check_difference(TEXTURE, Estimate(0.25, 0.1, 0.4), "worse", "version 2")
    assert str(worse) == (
        "FAILED  texture_squeezenet1_1 not worse than the champion: "
        "+0.25 (0.1 to 0.4) against version 2, pair by pair: worse"
    )
    alone = check_difference(TEXTURE, Estimate(-0.25, math.nan, math.nan), "", "version 2")
    assert alone.figures == "-0.25 against version 2, pair by pair: no interval"
