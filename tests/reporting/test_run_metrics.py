import math

import pytest

from quantart.evaluation.estimates import Estimate
from quantart.reporting.run_metrics import count_name, digest_name, logged_values, measured_in, outdated

NAN = math.nan
SUMMARY = {
    "model": {"gram_net": Estimate(0.5, 0.4, 0.6), "usage": Estimate(0.9), "kd_net": Estimate(NAN)},
    "adain": {"gram_net": Estimate(0.7, 0.6, 0.8)},
}


def test_metrics_are_logged_in_three_groups_under_the_settings_name() -> None:
    assert logged_values(SUMMARY, "eval") == {
        "eval/gram_net": 0.5,
        "eval_interval/gram_net_low": 0.4,
        "eval_interval/gram_net_high": 0.6,
        "eval/usage": 0.9,
        "eval_baselines/gram_net.adain": 0.7,
    }
    assert list(logged_values({"model": {"gram_net": Estimate(0.5, 0.4, 0.6)}}, "eval/a0.50_b1.00")) == [
        "eval/a0.50_b1.00/gram_net",
        "eval_interval/a0.50_b1.00/gram_net_low",
        "eval_interval/a0.50_b1.00/gram_net_high",
    ]
    assert (count_name("eval/style"), digest_name("eval/style")) == ("eval/style/n", "eval/style/digest")


def test_outdated_are_metrics_of_the_same_prefix_that_the_latest_evaluation_lacks() -> None:
    known = {"eval/old": 1.0, "eval/gone": NAN, "eval_interval/old_low": 0.5, "eval_baselines/old.adain": 2.0}
    others = {"eval/gram_net": 0.4, "eval/style/old": 1.0, "loss": 3.0}
    found = outdated({**known, **others}, logged_values(SUMMARY, "eval"), "eval")
    assert found == ["eval/old", "eval_interval/old_low", "eval_baselines/old.adain"]


def test_what_was_measured_is_the_metrics_that_an_evaluation_has() -> None:
    logged = {"eval/colour_rgb": 0.04, "eval_interval/colour_rgb_low": 0.03, "eval_interval/colour_rgb_high": 0.05}
    older = {"eval/colour_rgb_low": 0.03, "eval/colour_rgb_high": 0.05}  # names of former evaluations
    others = {"eval/n": 48.0, "eval/a0.50_b1.00/colour_rgb": 1.0, "eval_baselines/colour_rgb.adain": 2.0, "loss": 3.0}
    measured = measured_in({**logged, **older, **others})
    assert list(measured) == ["colour_rgb"]
    each = measured["colour_rgb"]
    assert (each.value, each.low, each.high) == pytest.approx((0.04, 0.03, 0.05))
