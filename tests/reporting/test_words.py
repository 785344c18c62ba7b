import pytest

from quantart.reporting.words import depends_on_set_size, number, signed, too_few_pictures


def test_numbers_are_short() -> None:
    assert [number(each) for each in (0.123456, 1234.5, float("nan"), -0.5)] == ["0.1235", "1234", "–", "-0.5"]
    assert [signed(each) for each in (0.123456, -1e-5, 0.0)] == ["+0.123", "−1e-05", "0"]


@pytest.mark.parametrize(("metric", "depends"), [("fd_net", True), ("composite_a_b", True), ("kd_net", False)])
def test_frechet_distances_depend_on_the_number_of_pictures(metric: str, depends: bool) -> None:
    assert depends_on_set_size(metric) is depends


def test_the_warning_names_its_metrics_and_numbers() -> None:
    assert too_few_pictures((1280, 1280), ["fd_net"]) == too_few_pictures((48, 1280), []) == ""
    warning = too_few_pictures((48, 1280), ["fd_net", "composite_a_b"])
    assert warning.startswith("`fd_net` and `composite_a_b` on 48 pictures with 1280 features: ")
