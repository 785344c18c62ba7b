import numpy as np
import pandas as pd
import pytest

from quantart.evaluation.estimates import Estimate
from quantart.evaluation.summary import difference, measurements, sharing_of, summarise, verdict

N = 8


@pytest.fixture
def rows() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    names = {"content": [f"{i % 4}.jpg" for i in range(N)], "style": [f"{i}.jpg" for i in range(N)]}
    return pd.DataFrame({"method": "model", "pair": range(N), **names, "lpips_net": draw.uniform(1, 2, N)})


def features(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(N, 5)).astype(np.float32)


def test_means_of_pairs_and_distances_of_sets_are_measured(rows: pd.DataFrame) -> None:
    found = measurements(rows, features(1), features(2), ["fd_net", "kd_net", "composite_a_b"])
    assert list(found) == ["lpips_net", "fd_net", "kd_net", "composite_a_b"]
    assert found["lpips_net"].value == pytest.approx(rows["lpips_net"].mean())
    assert found["composite_a_b"].value == pytest.approx((1 + found["lpips_net"].value) * (1 + found["fd_net"].value))
    for each in found.values():
        assert each.influence is not None
        assert each.influence.sum().item() == pytest.approx(0, abs=1e-9)


def test_what_one_picture_or_one_painting_can_not_give_is_left_out(rows: pd.DataFrame) -> None:
    names = ["fd_net", "kd_net"]
    assert list(measurements(rows[:1], features(1)[:1], features(2)[:1], names)) == ["lpips_net"]
    one_painting = rows.assign(style="a.jpg")
    assert list(measurements(one_painting, features(1), features(2), names)) == ["lpips_net", "fd_net"]


def test_the_summary_has_a_score_with_an_interval_for_each_method_and_metric(rows: pd.DataFrame) -> None:
    other = rows.assign(method="adain", lpips_net=rows["lpips_net"] + 1)
    measured = {
        each["method"].iloc[0]: measurements(each, features(1), features(2), ["fd_net"]) for each in (rows, other)
    }
    scores = summarise(pd.concat([rows, other]), measured)
    assert list(scores) == ["model", "adain"]
    for method in scores.values():
        for score in method.values():
            assert score.low < score.value < score.high
    assert scores["adain"]["lpips_net"].value == pytest.approx(scores["model"]["lpips_net"].value + 1)


def test_a_difference_on_the_same_pairs_leaves_out_what_they_share(rows: pd.DataFrame) -> None:
    shifted = rows.assign(lpips_net=rows["lpips_net"] + 0.1)
    one, two = (measurements(each, features(1), features(2), ["fd_net"]) for each in (rows, shifted))
    assert difference(one["lpips_net"], two["lpips_net"], sharing_of(rows)) == pytest.approx((0.1, 0.1, 0.1))
    assert difference(one["fd_net"], two["fd_net"], sharing_of(rows)) == (0, 0, 0)


def test_a_reconstructions_pictures_stand_alone() -> None:
    assert sharing_of(pd.DataFrame({"file": ["a", "b"]})).apart.tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("metric", "found", "expected"),
    [
        ("gram_vgg16", Estimate(-0.2, -0.3, -0.1), "better"),
        ("gram_vgg16", Estimate(0.2, 0.1, 0.3), "worse"),
        ("usage", Estimate(0.2, 0.1, 0.3), "better"),
        ("psnr", Estimate(-0.2, -0.3, -0.1), "worse"),
        ("gram_vgg16", Estimate(0.1, -0.1, 0.3), "not told apart"),
        ("gram_vgg16", Estimate(0.1, 0.0, 0.3), "not told apart"),
        ("gram_vgg16", Estimate(0.1), ""),
    ],
)
def test_a_difference_is_judged_by_its_interval_and_the_metrics_direction(
    metric: str, found: Estimate, expected: str
) -> None:
    assert verdict(metric, found) == expected
