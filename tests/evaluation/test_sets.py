from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from quantart.evaluation.resampling import draws, interval
from quantart.evaluation.sets import (
    frechet_distance,
    frechet_resampled,
    kernel_distance,
    kernel_resampled,
    too_few_pictures,
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array)


def frechet(outputs: np.ndarray, references: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The Fréchet distance as it is defined, of rows that count `weights` times."""
    covariances = [np.cov(rows.T, aweights=weights, ddof=0) for rows in (outputs, references)]
    means = [np.average(rows, axis=0, weights=weights) for rows in (outputs, references)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    unbiased = len(outputs) / (len(outputs) - 1)
    spread = np.trace(covariances[0] + covariances[1] - 2 * root)
    return float(((means[0] - means[1]) ** 2).sum() + unbiased * spread)


def kernel(x: np.ndarray, y: np.ndarray) -> float:
    return float((x @ y / len(x) + 1) ** 3)


def kernel_of_draw(x: np.ndarray, y: np.ndarray, draw: np.ndarray) -> float:
    """The kernel distance of drawn pairs, by loops: pictures of the same pair are not compared as if they were two."""
    n = len(x)
    places = [(a, b) for a in draw for b in draw if a != b]
    among = np.mean([kernel(x[a], x[b]) + kernel(y[a], y[b]) for a, b in places])
    across = np.mean([kernel(x[a], y[b]) for a, b in places])
    own = np.mean([kernel(x[a], y[a]) for a in draw])
    return float(among - 2 * ((n - 1) * across + own) / n)


def pairs(n: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features, at least 0, of outputs and of references that they resemble."""
    common = normal(n, d, seed=2 * seed)
    outputs = 0.5 * common + 0.9 * normal(n, d, seed=2 * seed + 1) + 0.3
    return tensor(np.maximum(outputs, 0)), tensor(np.maximum(common, 0))


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    outputs, references = normal(40, 6), 1.5 * normal(40, 6, seed=1) @ np.diag([1, 2, 1, 1, 3, 1]) + 0.3
    assert frechet_distance(tensor(outputs), tensor(references)) == pytest.approx(frechet(outputs, references))


class AsIs(torch.nn.Identity):
    """Stands where torchmetrics expects a network."""

    num_features = 24


def test_frechet_distance_agrees_with_torchmetrics_on_fewer_pictures_than_features() -> None:
    outputs, references = tensor(normal(10, 24)), tensor(normal(16, 24, seed=1)) + 0.3
    distance = FrechetInceptionDistance(feature=AsIs()).set_dtype(torch.float64)
    distance.update(references, real=True)
    distance.update(outputs, real=False)
    assert frechet_distance(outputs, references) == pytest.approx(distance.compute().item(), rel=1e-6)


def test_kernel_distance_agrees_with_torchmetrics_on_all_pictures() -> None:
    outputs, references = tensor(normal(10, 24)), tensor(normal(10, 24, seed=1)) + 0.3
    assert kernel_distance(outputs, references) == pytest.approx(poly_mmd(references, outputs).item(), rel=1e-9)


def test_a_painting_in_several_pairs_is_not_compared_with_itself() -> None:
    outputs, paintings = tensor(normal(6, 5)), tensor(normal(3, 5, seed=1))
    references = paintings.repeat(2, 1)
    rounded = references + 1e-7 * tensor(normal(6, 5, seed=2))
    among = [kernel(references[i], references[j]) for i in range(6) for j in range(6) if i % 3 != j % 3]
    own = [kernel(outputs[i], outputs[j]) for i in range(6) for j in range(6) if i != j]
    across = [kernel(x, y) for x in outputs for y in references]
    expected = np.mean(own) + np.mean(among) - 2 * np.mean(across)
    assert kernel_distance(outputs, rounded) == pytest.approx(expected, rel=1e-5)
    assert kernel_resampled(outputs, rounded, torch.arange(6)[None]).item() == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_takes_sets_of_different_size() -> None:
    small, large = normal(40, 2), normal(400, 2, seed=1) + [3, 4]
    covariances = np.cov(small.T), np.cov(large.T)
    spread = np.trace(covariances[0] + covariances[1] - 2 * linalg.sqrtm(covariances[0] @ covariances[1]).real)
    expected = ((small.mean(0) - large.mean(0)) ** 2).sum() + spread
    assert frechet_distance(tensor(small), tensor(large)) == pytest.approx(expected)


def test_frechet_distance_of_a_set_to_itself_is_zero_with_fewer_pictures_than_features() -> None:
    features = tensor(normal(12, 64)).abs().float()
    assert frechet_distance(features, features) == pytest.approx(0.0, abs=1e-4)
    assert frechet_distance(features, features + 1.0) == pytest.approx(64.0, rel=1e-4)


def test_kernel_distance_is_the_unbiased_estimate() -> None:
    x, y = normal(7, 5), normal(7, 5, seed=1) + 0.5
    n = len(x)
    among = sum(kernel(r[i], r[j]) for r in (x, y) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    across = sum(kernel(a, b) for a in x for b in y) / n**2
    assert kernel_distance(tensor(x), tensor(y)) == pytest.approx(among - 2 * across, rel=1e-9)


def test_kernel_distance_of_a_set_to_itself_is_slightly_negative() -> None:
    features = normal(50, 8)
    kernels = (features @ features.T / 8 + 1) ** 3
    own, others = kernels.trace() / 50, (kernels.sum() - kernels.trace()) / (50 * 49)
    value = kernel_distance(tensor(features), tensor(features))
    assert value == pytest.approx(-2 * (own - others) / 50)
    assert value < 0


def test_kernel_distance_of_one_distribution_is_around_zero() -> None:
    values = [
        kernel_distance(tensor(normal(20, 8, seed=2 * i)), tensor(normal(20, 8, seed=2 * i + 1))) for i in range(60)
    ]
    assert abs(np.mean(values)) < 3 * np.std(values) / 60**0.5
    assert min(values) < 0 < max(values)


def test_kernel_distance_needs_sets_of_one_size() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        kernel_distance(torch.zeros(3, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(torch.zeros(1, 2), torch.zeros(1, 2))


@pytest.mark.parametrize("shape", [(12, 5), (6, 9)])
def test_resampled_frechet_distances_follow_the_derivative_by_the_pairs_weights(shape: tuple[int, int]) -> None:
    outputs, references = normal(*shape), normal(*shape, seed=1) + 0.4
    n, step = shape[0], 1e-4
    once = torch.arange(n)
    # pair 1 in place of pair 0, else every pair once
    drawn = torch.cat([torch.tensor([1]), once[1:]])
    weights = np.ones(n)
    weights[:2] += np.array([-step, step])
    value = frechet(outputs, references)
    slope = (frechet(outputs, references, weights) - value) / step
    resampled = frechet_resampled(tensor(outputs), tensor(references), torch.stack([once, drawn]))
    np.testing.assert_allclose(resampled, [value, value + slope], rtol=1e-3)


def test_resampled_kernel_distances_equal_the_loops() -> None:
    x, y = normal(6, 4), normal(6, 4, seed=1) + 0.5
    drawn = draws(6, resamples=20)
    expected = [kernel_of_draw(x, y, draw) for draw in drawn.numpy()]
    np.testing.assert_allclose(kernel_resampled(tensor(x), tensor(y), drawn), expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("distance", "resampled"), [(frechet_distance, frechet_resampled), (kernel_distance, kernel_resampled)]
)
def test_each_pair_once_is_the_distance_itself_and_duplicates_do_not_raise_the_mean(distance, resampled) -> None:
    outputs, references = pairs(24, 64, seed=0)
    value = distance(outputs, references)
    assert resampled(outputs, references, torch.arange(24)[None]).item() == pytest.approx(value, rel=1e-5)
    drawn = resampled(outputs, references, draws(24))
    assert drawn.shape == (2000,)
    assert drawn.mean().item() == pytest.approx(value, abs=4 * drawn.std().item() / 2000**0.5)


@pytest.mark.parametrize(
    ("distance", "resampled"), [(frechet_distance, frechet_resampled), (kernel_distance, kernel_resampled)]
)
def test_intervals_hold_the_mean_distance_about_as_often_as_they_say(distance, resampled) -> None:
    values, found = [], []
    drawn = draws(20, resamples=300)
    for seed in range(120):
        outputs, references = pairs(20, 40, seed)
        values.append(distance(outputs, references))
        found.append(interval(values[-1], resampled(outputs, references, drawn)))
    truth = np.mean(values)
    share = np.mean([low < truth < high for low, high in found])
    assert 0.87 <= share <= 0.99


@pytest.mark.parametrize("resampled", [frechet_resampled, kernel_resampled])
def test_two_pairs_tell_nothing_of_the_spread(resampled) -> None:
    assert resampled(torch.rand(2, 4), torch.rand(2, 4), draws(2, resamples=5)).isnan().all()


def test_the_warning_names_what_to_judge_by() -> None:
    assert too_few_pictures(1280, 1280, "fd_efficientnet_lite0", "kd_efficientnet_lite0") is None
    warning = too_few_pictures(48, 1280, "fd_efficientnet_lite0", "kd_efficientnet_lite0")
    assert warning is not None
    assert "48 pictures with 1280 features" in warning
    assert "`kd_efficientnet_lite0`" in warning
