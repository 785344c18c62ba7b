import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation.metrics import colour_distance, colour_statistics
from quantart.evaluation.reinhard import match_colours
from quantart.images import pixels_to_float
from quantart.losses.colour import to_lab
from quantart.vocabulary.names import Domain


@pytest.fixture
def photographs(pictures: dict[Domain, PackedPictures]) -> torch.Tensor:
    return pixels_to_float(pictures["content"].centre([0, 1, 2, 3], 32))


@pytest.fixture
def paintings(pictures: dict[Domain, PackedPictures]) -> torch.Tensor:
    return pixels_to_float(pictures["style"].centre([0, 1, 2, 3], 32))


def test_the_statistics_of_the_painting_are_taken_over() -> None:
    # little contrast around grey, so that nothing leaves the colours of sRGB
    draw = torch.Generator().manual_seed(0)
    photograph = 0.1 * torch.randn(2, 3, 20, 24, generator=draw) + 0.2
    painting = 0.15 * torch.randn(2, 3, 9, 7, generator=draw) + torch.tensor([0.3, -0.1, -0.2]).view(3, 1, 1)
    matched, wanted = (to_lab(pictures).flatten(2) for pictures in (match_colours(photograph, painting), painting))
    torch.testing.assert_close(matched.mean(2), wanted.mean(2), atol=1e-2, rtol=0)
    torch.testing.assert_close(matched.std(2, correction=0), wanted.std(2, correction=0), atol=1e-2, rtol=0)


def test_a_photograph_comes_near_to_the_colours_of_its_painting(
    photographs: torch.Tensor, paintings: torch.Tensor
) -> None:
    matched = match_colours(photographs, paintings)
    assert matched.shape == photographs.shape
    assert matched.abs().max() <= 1
    before, after = (
        colour_distance(colour_statistics(pictures), colour_statistics(paintings))
        for pictures in (photographs, matched)
    )
    assert (after < 0.4 * before).all()
    # each pair by itself
    torch.testing.assert_close(match_colours(photographs[2:3], paintings[2:3]), matched[2:3], atol=1e-4, rtol=0)


def test_a_photograph_with_its_own_colours_stays(photographs: torch.Tensor) -> None:
    torch.testing.assert_close(match_colours(photographs, photographs.flip(3)), photographs, atol=1e-3, rtol=0)


def test_a_photograph_of_one_colour_becomes_the_mean_of_the_painting(paintings: torch.Tensor) -> None:
    matched = to_lab(match_colours(torch.full((4, 3, 8, 8), -1.0), paintings))
    mean = to_lab(paintings).mean((2, 3), keepdim=True)
    torch.testing.assert_close(matched, mean.expand_as(matched), atol=1e-2, rtol=0)
