import numpy as np
import pytest
import torch

from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.metrics import (
    cfsd,
    colour_distance,
    colour_statistics,
    delta_e,
    psnr,
    ssim,
)


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array).float()


def test_psnr_counts_the_range_from_minus_one_to_one() -> None:
    target = np.tanh(normal(2, 3, 8, 8))
    output = np.clip(target + 0.1 * normal(2, 3, 8, 8, seed=1), -1, 1)
    expected = 10 * np.log10(4 / ((output - target) ** 2).mean((1, 2, 3)))
    np.testing.assert_allclose(psnr(tensor(output), tensor(target)), expected, rtol=1e-5)


def test_psnr_takes_values_beyond_the_range_as_the_white_or_black_they_are_shown_as() -> None:
    white = torch.ones(1, 3, 8, 8)
    np.testing.assert_allclose(psnr(3 * white, 0 * white), [10 * np.log10(4)], rtol=1e-5)


def test_delta_e_is_the_mean_distance_in_cielab_over_pixels() -> None:
    black, white, red = (torch.tensor(each).view(1, 3, 1, 1) for each in ([-1.0] * 3, [1.0] * 3, [1.0, -1.0, -1.0]))
    assert delta_e(black, white).item() == pytest.approx(100.0, rel=1e-4)
    half_red = torch.cat([red, black], dim=3)
    # sRGB's red is L* 53.24, a* 80.09, b* 67.20
    expected = np.linalg.norm([53.24, 80.09, 67.20]) / 2
    assert delta_e(half_red, torch.cat([black, black], dim=3)).item() == pytest.approx(expected, rel=1e-3)


def test_colour_distance_of_black_to_white_and_to_itself() -> None:
    black, white = torch.full((1, 3, 4, 4), -1.0), torch.full((1, 3, 4, 4), 1.0)
    # means differ by 1 in every channel, standard deviations not at all
    assert colour_distance(colour_statistics(black), colour_statistics(white)).item() == 0.5
    assert colour_distance(colour_statistics(white), colour_statistics(white)).item() == 0.0


def test_latent_losses_of_each_picture() -> None:
    z, other = normal(2, 3, 4, 4), 2 * normal(2, 3, 4, 4, seed=1) + 1
    content = ((z - other) ** 2).mean((1, 2, 3))
    np.testing.assert_allclose(latent_content(tensor(z), tensor(other)), content, rtol=1e-5)

    def statistics(latents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return latents.mean((2, 3)), np.sqrt(latents.var((2, 3), ddof=1) + 1e-5)

    style = sum(((a - b) ** 2).mean(1) for a, b in zip(statistics(z), statistics(other), strict=True))
    np.testing.assert_allclose(latent_style(tensor(z), tensor(other)), style, rtol=1e-5)


def test_ssim_of_flat_pictures_is_that_of_their_greys() -> None:
    # without variance what is left is (2ab + c) / (a² + b² + c), c = (0.01 · range)²
    a, b, c = 0.5, -0.25, 0.02**2
    flat = torch.ones(1, 3, 16, 16)
    expected = (2 * a * b + c) / (a**2 + b**2 + c)
    np.testing.assert_allclose(ssim(a * flat, b * flat), [expected], rtol=1e-4)


def test_ssim_of_a_picture_with_itself_is_one_and_values_are_clamped() -> None:
    pictures = tensor(np.tanh(normal(2, 3, 16, 16)))
    np.testing.assert_allclose(ssim(pictures, pictures), [1.0, 1.0], rtol=1e-6)
    white = torch.ones(1, 3, 16, 16)
    np.testing.assert_allclose(ssim(3 * white, white), [1.0], rtol=1e-6)


def structural_distance(output: np.ndarray, content: np.ndarray) -> float:
    """CFSD of one picture's feature maps `(c, h, w)`, by loops."""
    rows = []
    o, c = (features.reshape(len(features), -1).T / len(features) for features in (output, content))
    for i in range(len(o)):
        p, q = (np.exp(f @ f[i] - (f @ f[i]).max()) for f in (c, o))
        p, q = p / p.sum(), q / q.sum()
        rows.append((p * np.log(p / q)).sum())
    return float(np.mean(rows))


def test_cfsd_is_the_divergence_of_the_contents_rows_of_similarities_from_the_outputs() -> None:
    outputs, contents = 5 * normal(2, 4, 3, 5), 5 * normal(2, 4, 3, 5, seed=1)
    expected = [structural_distance(o, c) for o, c in zip(outputs, contents, strict=True)]
    measured = cfsd(tensor(outputs), tensor(contents))
    np.testing.assert_allclose(measured, expected, rtol=1e-5)
    assert not np.allclose(cfsd(tensor(contents), tensor(outputs)), measured, rtol=0.01)  # it has a direction


def test_cfsd_by_blocks_of_rows_is_that_of_all_rows() -> None:
    outputs, contents = normal(1, 2, 36, 36), normal(1, 2, 36, 36, seed=1)  # 1296 positions
    expected = structural_distance(outputs[0], contents[0])
    assert cfsd(tensor(outputs), tensor(contents)).item() == pytest.approx(expected, rel=1e-4)


def test_cfsd_of_a_picture_to_itself_is_zero() -> None:
    features = tensor(10 * normal(2, 4, 6, 6))
    assert cfsd(features, features).tolist() == [0.0, 0.0]
