import pytest

from quantart.reporting.run_metrics import measured_in


def test_what_was_measured_is_the_metrics_that_an_evaluation_has() -> None:
    logged = {"eval/colour_rgb": 0.04, "eval_interval/colour_rgb_low": 0.03, "eval_interval/colour_rgb_high": 0.05}
    older = {"eval/colour_rgb_low": 0.03, "eval/colour_rgb_high": 0.05}  # names of former evaluations
    others = {"eval/n": 48.0, "eval/a0.50_b1.00/colour_rgb": 1.0, "eval_baselines/colour_rgb.adain": 2.0, "loss": 3.0}
    measured = measured_in({**logged, **older, **others})
    assert list(measured) == ["colour_rgb"]
    each = measured["colour_rgb"]
    assert (each.value, each.low, each.high) == pytest.approx((0.04, 0.03, 0.05))
