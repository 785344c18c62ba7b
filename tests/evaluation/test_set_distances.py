from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance
from torchmetrics.image.kid import poly_mmd

from quantart.evaluation.resampling import Sharing
from quantart.evaluation.set_distances import frechet_distance, kernel_distance


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


def test_frechet_distance_agrees_with_the_matrix_square_root() -> None:
    outputs, references = normal(40, 6), 1.5 * normal(40, 6, seed=1) @ np.diag([1, 2, 1, 1, 3, 1]) + 0.3
    assert frechet_distance(tensor(outputs), tensor(references))[0] == pytest.approx(frechet(outputs, references))


class AsIs(torch.nn.Identity):
    """Stands where torchmetrics expects a network."""

    num_features = 24


def test_frechet_distance_agrees_with_torchmetrics_on_fewer_pictures_than_features() -> None:
    outputs, references = tensor(normal(10, 24)), tensor(normal(10, 24, seed=1)) + 0.3
    distance = FrechetInceptionDistance(feature=AsIs()).set_dtype(torch.float64)
    distance.update(references, real=True)
    distance.update(outputs, real=False)
    assert frechet_distance(outputs, references)[0] == pytest.approx(distance.compute().item(), rel=1e-6)


def test_frechet_distance_of_a_set_to_itself_is_zero_with_fewer_pictures_than_features() -> None:
    features = tensor(normal(12, 64)).abs().float()
    assert frechet_distance(features, features)[0] == pytest.approx(0.0, abs=1e-4)
    assert frechet_distance(features, features + 1.0)[0] == pytest.approx(64.0, rel=1e-4)


def by_loops(x: np.ndarray, y: np.ndarray, contents: list[int], styles: list[int], weights: np.ndarray) -> float:
    """The kernel distance of pairs that count `weights` times, of unrelated pictures alone."""
    n = range(len(x))
    other = [(i, j) for i in n for j in n if styles[i] != styles[j]]
    apart = [(i, j) for i, j in other if contents[i] != contents[j]]

    def mean(one: np.ndarray, two: np.ndarray, places: list[tuple[int, int]]) -> float:
        counts = [weights[i] * weights[j] for i, j in places]
        return float(np.average([kernel(one[i], two[j]) for i, j in places], weights=counts))

    return mean(x, x, apart) + mean(y, y, other) - 2 * mean(x, y, other)


CONTENTS, STYLES = [0, 0, 1, 1, 2, 3], [0, 1, 1, 2, 2, 3]


def test_kernel_distance_compares_unrelated_pictures_alone_and_knows_each_pairs_influence() -> None:
    x, y = normal(6, 5), normal(6, 5, seed=1)[[0, 1, 1, 2, 2, 3]] + 0.5
    value, influence = kernel_distance(tensor(x), tensor(y), Sharing.of(CONTENTS, STYLES))
    assert value == pytest.approx(by_loops(x, y, CONTENTS, STYLES, np.ones(6)), rel=1e-9)
    step = 1e-5
    slopes = [(by_loops(x, y, CONTENTS, STYLES, np.ones(6) + step * row) - value) / step for row in np.eye(6)]
    np.testing.assert_allclose(influence, slopes, rtol=1e-3, atol=1e-6)
    assert influence.sum().item() == pytest.approx(0, abs=1e-9)


def test_kernel_distance_of_pictures_that_stand_alone_is_torchmetrics_but_for_their_own_references() -> None:
    outputs, references = tensor(normal(10, 24)), tensor(normal(10, 24, seed=1)) + 0.3
    own = np.mean([kernel(x, y) for x, y in zip(outputs.numpy(), references.numpy(), strict=True)])
    across = np.mean([kernel(x, y) for x in outputs.numpy() for y in references.numpy()])
    others = (10 * across - own) / 9
    expected = poly_mmd(references, outputs).item() + 2 * across - 2 * others
    assert kernel_distance(outputs, references, Sharing.none(10))[0] == pytest.approx(expected, rel=1e-9)


def test_kernel_distance_of_one_distribution_is_around_zero_even_of_a_set_with_itself() -> None:
    own = [kernel_distance(*2 * (tensor(normal(20, 8, seed=i)),), Sharing.none(20))[0] for i in range(60)]
    assert own == pytest.approx([0.0] * 60, abs=1e-9)
    sets = [[tensor(normal(20, 8, seed=2 * i + k)) for k in (0, 1)] for i in range(60)]
    values = [kernel_distance(x, y, Sharing.none(20))[0] for x, y in sets]
    assert abs(np.mean(values)) < 3 * np.std(values) / 60**0.5
    assert min(values) < 0 < max(values)


def test_one_painting_for_all_pairs_has_no_kernel_distance() -> None:
    value, influence = kernel_distance(tensor(normal(4, 3)), tensor(normal(4, 3)), Sharing.of(range(4), [0] * 4))
    assert np.isnan(value)
    assert influence.isnan().all()


@pytest.mark.parametrize("shape", [(12, 5), (6, 9)])
def test_frechet_influence_is_the_derivative_by_the_pairs_weights(shape: tuple[int, int]) -> None:
    outputs, references = normal(*shape), normal(*shape, seed=1) + 0.4
    step = 1e-3  # large against the rounding errors of a matrix root of low rank
    shift = step * np.array([-1, 1, *[0] * (shape[0] - 2)])  # pair 1 in place of pair 0
    more, less = (frechet(outputs, references, 1 + sign * shift) for sign in (1, -1))
    slope = (more - less) / (2 * step)
    influence = frechet_distance(tensor(outputs), tensor(references))[1]
    assert (influence[1] - influence[0]).item() == pytest.approx(slope, rel=1e-3)
    assert influence.sum().item() == pytest.approx(0, abs=1e-9)
