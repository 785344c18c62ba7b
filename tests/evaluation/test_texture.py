"""On real pictures, by both networks that are shipped: what a colour can't please."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from quantart.evaluation.methods import match_colours
from quantart.evaluation.texture import Texture, standardised_luma, structure_distance, texture_distance, texture_of
from quantart.images.arrays import crop_to_aspect, pixels_to_float, resize_short_side
from quantart.images.decode import read_image
from quantart.losses.lpips import LPIPS
from quantart.vocabulary.names import PerceptualNetworkName

SAMPLE = Path(__file__).parents[2] / "data" / "sample"


@pytest.fixture(scope="module", params=["squeezenet1_1", "efficientnet_lite0"])
def network(request: pytest.FixtureRequest) -> LPIPS:
    name: PerceptualNetworkName = request.param
    return LPIPS(name)


def read(folder: str, count: int) -> Tensor:
    """Central squares of pictures spread over the folder, `(count, 3, 256, 256)` in [-1, 1]."""
    files = sorted((SAMPLE / folder).glob("*.jpg"))
    pictures = [read_image(files[i * len(files) // count], max_pixels=10**6) for i in range(count)]
    squares = [torch.tensor(resize_short_side(crop_to_aspect(each, 1.0), 256)).permute(2, 0, 1) for each in pictures]
    return pixels_to_float(torch.stack(squares))


def test_a_tinted_photograph_scores_as_the_photograph_and_the_painting_zero(network: LPIPS) -> None:
    photographs, paintings = read("photos", 6), read("paintings", 6)
    tinted = match_colours(photographs, paintings)
    own, target, tint = (texture_of(network, pictures) for pictures in (photographs, paintings, tinted))
    untouched, changed = (float(texture_distance(each, target).mean()) for each in (own, tint))
    assert (tinted - photographs).abs().mean() > 0.1
    assert untouched > 0.7
    assert changed == pytest.approx(untouched, rel=0.02)
    assert structure_distance(tint, own).mean() < 0.35 < 1.5 < structure_distance(target, own).mean()
    assert texture_distance(target, target).max() == structure_distance(own, own).max() == 0


def test_a_paintings_other_half_is_nearer_than_another_painters(network: LPIPS) -> None:
    paintings = read("paintings", 6)
    halves = [texture_of(network, half) for half in paintings.split(128, dim=3)]
    apart = torch.stack([texture_distance(halves[0], _turned(halves[1], by)) for by in range(len(paintings))])
    own, others = apart[0], apart[1:].mean(0)
    assert own.mean() < 0.95 * others.mean()
    assert (own < others).sum() >= 4  # of six


def test_colours_brightness_and_contrast_change_nothing(network: LPIPS) -> None:
    pictures = read("photos", 2)
    grey = standardised_luma(pictures)[:, :1].expand(-1, 3, -1, -1)
    for changed in (grey * 0.1, grey * 0.02 - 0.5):
        assert texture_distance(texture_of(network, changed), texture_of(network, pictures)).max() < 1e-3


class TwoLayers(nn.Module):
    """Stands in for LPIPS: the picture, then two channels of it."""

    def outputs(self, pictures: Tensor) -> list[Tensor]:
        return [pictures, torch.cat([pictures[:, :1], pictures[:, :1].square()], dim=1)]


def test_the_values_are_those_computed_by_hand() -> None:
    # luma of greys is the grey: 0 0 0 2 has mean .5 and deviation √.75; 0 0 2 2 has mean 1 and deviation 1
    one, two = (torch.tensor(row).view(1, 1, 2, 2).expand(1, 3, 2, 2) for row in ([0.0, 0, 0, 2], [0.0, 0, 2, 2]))
    first, second = (texture_of(TwoLayers(), picture) for picture in (one, two))  # type: ignore[arg-type]
    torch.testing.assert_close(standardised_luma(two)[0, 0], torch.tensor([[-1.0, -1], [1, 1]]))
    # a deep channel of 3, -1, -1, -1 (over √3) has squares of 3 and thrice 1/3, which correlate with it fully
    torch.testing.assert_close(first.correlations[0], torch.ones(1, 3, 3))
    torch.testing.assert_close(first.correlations[1], torch.ones(1, 2, 2))
    # squares of -1, -1, 1, 1 are all alike: they correlate with nothing, not even with themselves
    torch.testing.assert_close(second.correlations[1], torch.tensor([[[1.0, 0], [0, 0]]]))
    # layers: 0, and ‖0 1, 1 1‖ / ‖1 0, 0 0‖ = √3
    torch.testing.assert_close(texture_distance(first, second), torch.tensor([3**0.5 / 2]))
    # forms: u = (-1, -1, -1, 3) / √3 twice, against (-1, -1, 1, 1) and zeros
    u, v = torch.tensor([-1.0, -1, -1, 3]) / 3**0.5, torch.tensor([-1.0, -1, 1, 1])
    torch.testing.assert_close(structure_distance(first, second)[0], ((u - v).square().mean() + 1) / 2)


def _turned(texture: Texture, by: int) -> Texture:
    return Texture([layer.roll(by, 0) for layer in texture.correlations], texture.forms.roll(by, 0))
