import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation.metrics import colour_distance, colour_statistics
from quantart.evaluation.reinhard import from_lab, match_colours, to_lab
from quantart.images import pixels_to_float
from quantart.params import Domain


@pytest.fixture
def photographs(pictures: dict[Domain, PackedPictures]) -> torch.Tensor:
    return pixels_to_float(pictures["content"].centre([0, 1, 2, 3], 32))


@pytest.fixture
def paintings(pictures: dict[Domain, PackedPictures]) -> torch.Tensor:
    return pixels_to_float(pictures["style"].centre([0, 1, 2, 3], 32))


def one_pixel(*rgb: int) -> torch.Tensor:
    return pixels_to_float(torch.tensor(rgb)).view(1, 3, 1, 1)


@pytest.mark.parametrize(
    ("rgb", "lab"),
    [
        ((0, 0, 0), (0.0, 0.0, 0.0)),
        ((255, 255, 255), (100.0, 0.0, 0.0)),
        # ((128 / 255 + 0.055) / 1.055)^2.4 = 0.21586; 116 * 0.21586^(1/3) - 16
        ((128, 128, 128), (53.585, 0.0, 0.0)),
        # linear 2 / 255 / 12.92 = 0.000607; below the knee: 116 * (841 / 108) * 0.000607
        ((2, 2, 2), (0.5484, 0.0, 0.0)),
        # X / Xn = 0.4339, Y = 0.2126, Z / Zn = 0.01773, whose cube roots are 0.7571, 0.5968, 0.2607
        ((255, 0, 0), (53.23, 80.11, 67.22)),
        # X / Xn = 0.1899, Y = 0.0722, Z / Zn = 0.8730, whose cube roots are 0.5748, 0.4164, 0.9557
        ((0, 0, 255), (32.30, 79.20, -107.86)),
    ],
)
def test_lab_of_known_colours(rgb: tuple[int, ...], lab: tuple[float, ...]) -> None:
    torch.testing.assert_close(to_lab(one_pixel(*rgb)).flatten(), torch.tensor(lab), atol=0.02, rtol=0)


def test_colours_come_back(photographs: torch.Tensor) -> None:
    torch.testing.assert_close(from_lab(to_lab(photographs)), photographs, atol=1e-4, rtol=0)
    corners = torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 3).view(8, 3, 1, 1)
    torch.testing.assert_close(from_lab(to_lab(corners)), corners, atol=1e-4, rtol=0)


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
