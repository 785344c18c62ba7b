import numpy as np
import torch

from quantart.losses.statistics import correlations, gram_matrix, moments, relative_distance


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).float()


def test_gram_matrix_is_the_mean_product_of_channels() -> None:
    features = normal(2, 3, 4, 5)
    expected = np.einsum("bchw,bdhw->bcd", features, features) / 20
    np.testing.assert_allclose(gram_matrix(tensor(features)), expected, rtol=1e-5, atol=1e-6)


def test_moments_are_means_then_standard_deviations() -> None:
    features = normal(2, 3, 4, 5)
    expected = np.concatenate([features.mean((2, 3)), features.std((2, 3))], axis=1)
    np.testing.assert_allclose(moments(tensor(features)), expected, rtol=1e-5, atol=1e-6)


def test_relative_distance_is_the_mean_over_layers_of_the_relative_norm() -> None:
    outputs, targets = [normal(2, 3, 3), normal(2, 5)], [normal(2, 3, 3, seed=1), normal(2, 5, seed=1)]
    expected = np.mean(
        [
            [np.linalg.norm(o[i] - t[i]) / np.linalg.norm(t[i]) for i in range(2)]
            for o, t in zip(outputs, targets, strict=True)
        ],
        axis=0,
    )
    measured = relative_distance([tensor(o) for o in outputs], [tensor(t) for t in targets])
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    twice = relative_distance([2 * tensor(t) for t in targets], [tensor(t) for t in targets])
    np.testing.assert_allclose(twice, [1.0, 1.0], rtol=1e-6)


def test_correlations_ignore_tint_and_contrast_but_not_structure() -> None:
    torch.manual_seed(0)
    features = torch.randn(2, 5, 8, 8) + torch.randn(2, 1, 8, 8)
    found = correlations(features)
    expected = torch.stack([torch.corrcoef(each.flatten(1)) for each in features])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.06)  # no channel counts fully
    assert torch.allclose(correlations(3.0 * features + 2.0), found, atol=1e-5)
    assert (correlations(features.flip(3).roll(1, 1)) - found).abs().max() > 0.1


def test_a_flat_channel_correlates_with_nothing_and_its_gradient_is_finite() -> None:
    features = torch.randn(1, 3, 8, 8)
    features[:, 1] = 0.5
    features.requires_grad_()
    found = correlations(features)
    found.sum().backward()
    assert found[0, 1].abs().max() < 1e-5
    assert features.grad.isfinite().all()
