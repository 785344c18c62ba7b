import numpy as np
import torch

from quantart.losses.statistics import channels, gram_matrix, moments, relative_distance


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
    found = channels(features).correlations
    expected = torch.stack([torch.corrcoef(each.flatten(1)) for each in features])
    torch.testing.assert_close(found, expected, rtol=0, atol=0.06)  # no channel counts fully
    assert torch.allclose(channels(3.0 * features + 2.0).correlations, found, atol=1e-5)
    assert (channels(features.flip(3).roll(1, 1)).correlations - found).abs().max() > 0.1


def test_a_flat_channel_correlates_with_nothing_and_its_gradient_is_finite() -> None:
    features = torch.randn(1, 3, 8, 8)
    features[:, 1] = 0.5
    features.requires_grad_()
    found = channels(features).correlations
    found.sum().backward()
    assert found[0, 1].abs().max() < 1e-5
    assert features.grad.isfinite().all()


def test_channels_are_standardised_as_their_moments_say() -> None:
    features = torch.from_numpy(normal(2, 4, 9, 7)).float() * 3.0 + 2.0
    found = channels(features)
    torch.testing.assert_close(found.moments, moments(features))
    whole = found.standardise(features)
    torch.testing.assert_close(whole.mean((2, 3)), torch.zeros(2, 4), rtol=0, atol=1e-5)
    torch.testing.assert_close(whole.std((2, 3), correction=0), found.deviation / found.scale)
    torch.testing.assert_close(gram_matrix(whole), found.correlations, rtol=1e-4, atol=1e-5)


def test_correlations_of_a_flat_picture_are_not_infinitely_far_from_others() -> None:
    flat, varied = channels(torch.full((1, 4, 8, 8), 0.5)), channels(torch.from_numpy(normal(1, 4, 8, 8)).float())
    distance = relative_distance([varied.correlations], [flat.correlations], least=1.0)
    assert 1.0 < distance.item() < 5.0
