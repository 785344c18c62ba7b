from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quantart.reporting.comparison.compare import Difference, compare, measured_in_record
from tests.reporting.comparison.records import PAIRS, evaluated, record


def differences(one: object, two: object) -> dict[str, Difference]:
    (pair,) = compare([evaluated("one", one), evaluated("two", two)]).pairs  # type: ignore[arg-type]
    return {found.metric: found for found in pair.differences}


def test_a_small_difference_on_every_pair_is_told_from_the_noise_between_pairs() -> None:
    found = differences(record(), record(0.2, noise=0.1))
    distance, similarity = found["perceptual_net"], found["ssim"]

    assert 0.1 < distance.low < distance.difference < distance.high < 0.3
    assert distance.verdict == "worse"
    assert similarity.difference < 0
    assert similarity.verdict == "worse"  # larger is better
    assert found["usage"] == Difference("usage", 0.5, 0.0, pytest.approx(np.nan, nan_ok=True), found["usage"].high, "")
    alone = record().table["perceptual_net"].std() / PAIRS**0.5
    assert alone > 5 * (distance.high - distance.low) / 4  # pairs differ by more than the runs do


def test_the_interval_is_that_of_the_mean_paired_difference() -> None:
    one, two = record(), record(0.2, noise=0.5)
    by_pair = two.table["perceptual_net"].to_numpy() - one.table["perceptual_net"].to_numpy()
    half = 1.96 * by_pair.std(ddof=1) / PAIRS**0.5
    found = differences(one, two)["perceptual_net"]
    assert found.difference == pytest.approx(by_pair.mean())
    assert (found.low, found.high) == pytest.approx((by_pair.mean() - half, by_pair.mean() + half), abs=0.05)


def test_the_order_of_the_runs_turns_the_verdict() -> None:
    there, back = (differences(*pair) for pair in ((record(), record(0.2)), (record(0.2), record())))
    assert {there["perceptual_net"].verdict, back["perceptual_net"].verdict} == {"worse", "better"}
    assert there["perceptual_net"].difference == pytest.approx(-back["perceptual_net"].difference)
    assert there["perceptual_net"].low == pytest.approx(-back["perceptual_net"].high, rel=0.1)


def test_equal_runs_and_noise_alone_are_not_told_apart() -> None:
    equal = differences(record(), record())
    assert {found.verdict for found in equal.values()} == {"not told apart", ""}
    assert all(found.low == found.difference == found.high == 0 for found in equal.values() if found.verdict)
    noisy = differences(record(noise=0.5, seed=1), record(noise=0.5, seed=2))
    assert noisy["perceptual_net"].verdict == "not told apart"


def test_metrics_of_whole_sets_are_compared_by_their_influences() -> None:
    found = differences(record(), record(0.5, seed=2))
    assert found["fd_feat"].verdict == "not told apart"  # the summaries say the same value
    assert found["fd_feat"].low < 0 < found["fd_feat"].high
    one, two = (measured_in_record(each)["fd_feat"].influence for each in (record(), record(0.5, seed=2)))
    assert one is not None
    assert two is not None
    assert found["fd_feat"].high == pytest.approx(1.96 * float((two - one).square().sum()) ** 0.5, rel=0.2)


def test_a_reconstruction_is_compared_with_its_originals() -> None:
    made = record(kind="reconstruction")
    assert measured_in_record(made)["fd_feat"].influence is not None
    (pair,) = compare([evaluated("one", made), evaluated("two", record(0.2, kind="reconstruction"))]).pairs
    assert f"on {PAIRS} pictures: worse beyond noise on perceptual_net" in pair.sentence


def test_latent_distances_of_different_vqgans_are_not_compared() -> None:
    same = [evaluated("one", record()), evaluated("two", record(0.2))]
    assert "latent_style" in [found.metric for found in compare(same).pairs[0].differences]
    for upstream in ({"stage1_content": "c1", "stage1_style": "50"}, {}):
        others = [same[0], evaluated("two", record(0.2), upstream)]
        assert "latent_style" not in [found.metric for found in compare(others).pairs[0].differences]
    unknown = [evaluated("one", record(), {}), evaluated("two", record(0.2), {})]
    assert "latent_style" not in [found.metric for found in compare(unknown).pairs[0].differences]


def test_what_was_measured_on_something_else_is_not_compared() -> None:
    runs = [
        evaluated("one", record()),
        evaluated("two", record(data="two")),
        evaluated("three", record(kind="reconstruction")),
    ]
    comparison = compare(runs)
    assert [(pair.first, pair.second) for pair in comparison.pairs] == [("A", "B"), ("A", "C"), ("B", "C")]
    assert not any(pair.differences for pair in comparison.pairs)
    for pair, names in zip(comparison.pairs, ["B (two) and A (one)", "C (three) and A (one)"], strict=False):
        assert pair.sentence.startswith(f"{names} can't be compared: ")


def test_distances_of_fewer_pictures_than_features_carry_a_caution() -> None:
    enough = differences(record(), record(0.2))
    assert {found.caution for found in enough.values()} == {""}
    few = [evaluated(name, record(shift, n=3)) for name, shift in (("one", 0.0), ("two", 0.2))]
    (pair,) = compare(few).pairs
    cautious = {found.metric: found.caution for found in pair.differences if found.caution}
    assert cautious == dict.fromkeys(["fd_feat", "composite_net_feat"], "fewer pictures (3) than features (4)")
    assert "`fd_feat` and `composite_net_feat` on 3 pictures with 4 features: " in pair.sentence


def test_metrics_of_other_networks_are_said_not_to_compare() -> None:
    other = record(0.2)
    other = replace(other, about=replace(other.about, network="vgg16"))
    (pair,) = compare([evaluated("one", record()), evaluated("two", other)]).pairs
    assert "(net and feat; vgg16 and feat)" in pair.sentence


def test_too_few_pairs_have_no_interval_and_no_verdict() -> None:
    (pair,) = compare([evaluated("one", record(n=2)), evaluated("two", record(0.2, n=2))]).pairs
    assert {found.verdict for found in pair.differences} == {""}
    assert pair.sentence.startswith("B (two) and A (one) can't be told apart: 2 pairs ")


def test_parameters_and_metrics_are_tables_with_a_column_or_row_for_each_run() -> None:
    runs = [
        evaluated("one", record(), variant="discrete", steps="8", seed="0"),
        evaluated("two", record(0.2), variant="continuous", steps="8"),
    ]
    comparison = compare(runs)
    parameters = comparison.parameters
    assert parameters.to_dict("index") == {
        "variant": {"A": "discrete", "B": "continuous"},
        "seed": {"A": "0", "B": ""},
    }
    metrics = comparison.metrics
    assert list(metrics.columns) == ["run", "metric", "value", "low", "high", "n"]
    assert len(metrics) == 2 * 6  # the model's alone
    (pair,) = comparison.pairs
    assert pair.sentence == (
        f"B (two) against A (one), on {PAIRS} pairs: worse beyond noise on perceptual_net, latent_style, ssim; "
        "not told apart on fd_feat, composite_net_feat."
    )
    assert compare([runs[0], runs[0]]).parameters.empty


def test_letters_go_on_after_z() -> None:
    letters = list(compare([evaluated("run", record(n=4)) for _ in range(28)]).runs)
    assert letters[-3:] == ["Z", "A1", "B1"]
