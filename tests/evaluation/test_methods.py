import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation import methods
from quantart.evaluation.methods import match_colours
from quantart.evaluation.metrics import colour_distance, colour_statistics
from quantart.images.arrays import pixels_to_float
from quantart.losses.colour import to_lab
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import Domain


@pytest.fixture
def content() -> torch.Tensor:
    return torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def style() -> torch.Tensor:
    return 0.2 * torch.randn(2, 8, 16, 16, generator=torch.Generator().manual_seed(2)) + torch.arange(8.0).view(8, 1, 1)


@pytest.mark.parametrize("variant", ["continuous"], indirect=True)
def test_adain_gives_the_content_the_statistics_of_the_style(
    model: ExperimentStage2, content: torch.Tensor, style: torch.Tensor
) -> None:
    latents = methods.adain(model, content, style).latents
    torch.testing.assert_close(latents.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(latents.std((2, 3)), style.std((2, 3)))
    # the content's pattern is kept: each channel is a rising line of what it was
    flat, before = latents.flatten(2), content.flatten(2)
    assert torch.equal(flat.argsort(dim=2), before.argsort(dim=2))


@pytest.mark.parametrize("variant", ["continuous"], indirect=True)
def test_adain_of_a_channel_without_contrast_is_the_styles_mean(model: ExperimentStage2, style: torch.Tensor) -> None:
    latents = methods.adain(model, torch.ones_like(style), style).latents
    torch.testing.assert_close(latents, style.mean((2, 3), keepdim=True).expand_as(style))


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_adain_of_the_discrete_variant_ends_on_codes_of_the_style(
    model: ExperimentStage2, content: torch.Tensor
) -> None:
    rendering = methods.adain(model, content, 0.5 * content.flip(0))
    assert rendering.indices is not None
    torch.testing.assert_close(rendering.latents, model.quantize_dec.lookup(rendering.indices.clone()))
    assert len(rendering.indices.unique()) > 1


def test_transfer_is_the_models_own_output(model: ExperimentStage2) -> None:
    photograph, painting = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    rendering = methods.transfer(model, model.content_latents(photograph), model.style_latents(painting))
    torch.testing.assert_close(rendering.pictures, model(photograph, painting).clamp(-1, 1))
    assert (rendering.indices is None) == (model.variant == "continuous")


def test_the_style_vqgan_and_the_content_latents_meet_in_the_same_decoder(model: ExperimentStage2) -> None:
    photograph = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = model.style_latents(photograph)
    reconstructed, decoded = methods.style_vqgan(model, photograph), methods.content_decoded(model, latents)
    torch.testing.assert_close(reconstructed.pictures, decoded.pictures)
    assert reconstructed.pictures.abs().max() <= 1
    assert decoded.indices is None


def test_baselines_keep_the_length_of_cosine_latents(content: torch.Tensor, style: torch.Tensor) -> None:
    ddconfig = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "resolution": 32}
    model = ExperimentStage2(ddconfig | {"z_channels": 8}, 16, 8, block_num=1, variant="continuous", cosine=True)
    for rendering in (methods.adain(model, content, style), methods.style_vqgan(model, torch.rand(2, 3, 32, 32))):
        torch.testing.assert_close(rendering.latents.norm(dim=1), torch.ones(2, 16, 16))


@pytest.fixture
def photographs(pictures: dict[Domain, PackedPictures]) -> torch.Tensor:
    return pixels_to_float(pictures["content"].centre([0, 1, 2, 3], 32))


@pytest.fixture
def paintings(pictures: dict[Domain, PackedPictures]) -> torch.Tensor:
    return pixels_to_float(pictures["style"].centre([0, 1, 2, 3], 32))


def test_matched_colours_are_the_paintings_with_latents_of_the_content_encoder(
    model: ExperimentStage2, photographs: torch.Tensor, paintings: torch.Tensor
) -> None:
    rendering = methods.colour_matched(model, photographs, paintings)
    torch.testing.assert_close(rendering.pictures, match_colours(photographs, paintings))
    torch.testing.assert_close(rendering.latents, model.content_latents(rendering.pictures))
    assert rendering.indices is None
    assert not torch.allclose(model.style_latents(rendering.pictures), rendering.latents)


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


@pytest.mark.usefixtures("one_thread")  # an optimiser's first steps have the gradient's sign: rounding decides some
def test_refined_answers_are_those_of_each_pair_alone(model: ExperimentStage2) -> None:
    photographs, paintings = torch.rand(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        rendering = methods.refined(model, 2, photographs, paintings)
        alone = methods.refined(model, 2, photographs[1:], paintings[1:])
        answer = methods.transfer(model, model.content_latents(photographs), model.style_latents(paintings))
    torch.testing.assert_close(rendering.latents[1:], alone.latents, atol=1e-4, rtol=0)
    assert (rendering.latents - answer.latents).abs().max() > 0.01
    assert rendering.pictures.abs().max() <= 1
    assert (rendering.indices is None) == (model.variant == "continuous")
    if rendering.indices is not None:
        torch.testing.assert_close(rendering.latents, model.quantize_dec.lookup(rendering.indices.clone()))
