import numpy as np
import pytest
import torch

from quantart.images import ImageError, Picture, to_arrays, to_tensor
from quantart.models.stage_2 import ExperimentStage2
from quantart.serving.stylizer import Stylizer


def test_a_square_of_the_models_size_is_the_networks_own_output(network: ExperimentStage2, noise: Picture) -> None:
    content, style = noise[:32, :32], noise[-32:, -32:]
    with torch.inference_mode():
        expected = to_arrays(network(to_tensor(content), to_tensor(style)))[0]
    assert np.array_equal(Stylizer(network).stylize(content, style), expected)


@pytest.mark.parametrize(
    ("size", "expected"),
    [((64, 64), (32, 32)), ((33, 47), (32, 46)), ((200, 100), (64, 32)), ((32, 256), (32, 256))],
)
def test_any_size_keeps_the_contents_aspect(
    size: tuple[int, int], expected: tuple[int, int], network: ExperimentStage2, noise: Picture
) -> None:
    content = np.resize(noise, (*size, 3))
    painted = Stylizer(network).stylize(content, noise)
    assert painted.shape == (*expected, 3)
    assert painted.dtype == np.uint8


def test_padding_does_not_show_in_what_is_kept(network: ExperimentStage2, noise: Picture) -> None:
    content = np.resize(noise, (32, 45, 3))
    mirrored = np.concatenate([content, content[:, -2:-3:-1]], axis=1)  # by hand what padding to 46 does
    stylizer = Stylizer(network)
    assert np.array_equal(stylizer.stylize(content, noise), stylizer.stylize(mirrored, noise)[:, :45])


def test_the_style_matters(network: ExperimentStage2, noise: Picture) -> None:
    stylizer = Stylizer(network)
    assert not np.array_equal(stylizer.stylize(noise, noise), stylizer.stylize(noise, 255 - noise // 2))


@pytest.mark.parametrize(
    ("content", "style", "message"),
    [
        ((31, 60), (40, 40), "content: 60 × 31 pixels; each side must have at least 32"),
        ((40, 40), (1, 1), "style: 1 × 1 pixels; each side must have at least 32"),
        ((32, 257), (40, 40), "content: 257 × 32 pixels; one side may be at most 8 times the other"),
    ],
)
def test_pictures_that_cannot_be_painted_are_named(
    content: tuple[int, int], style: tuple[int, int], message: str, network: ExperimentStage2
) -> None:
    blank = [np.zeros((*size, 3), np.uint8) for size in (content, style)]
    with pytest.raises(ImageError, match=message):
        Stylizer(network).stylize(*blank)
