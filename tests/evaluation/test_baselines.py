import pytest
import torch

from quantart.data.pictures import PackedPictures
from quantart.evaluation import baselines
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.reinhard import match_colours
from quantart.images import pixels_to_float
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import DOMAINS, Domain


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
    latents = baselines.adain(model, content, style).latents
    torch.testing.assert_close(latents.mean((2, 3)), style.mean((2, 3)))
    torch.testing.assert_close(latents.std((2, 3)), style.std((2, 3)))
    # the content's pattern is kept: each channel is a rising line of what it was
    flat, before = latents.flatten(2), content.flatten(2)
    assert torch.equal(flat.argsort(dim=2), before.argsort(dim=2))


@pytest.mark.parametrize("variant", ["continuous"], indirect=True)
def test_adain_of_a_channel_without_contrast_is_the_styles_mean(model: ExperimentStage2, style: torch.Tensor) -> None:
    latents = baselines.adain(model, torch.ones_like(style), style).latents
    torch.testing.assert_close(latents, style.mean((2, 3), keepdim=True).expand_as(style))


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_adain_of_the_discrete_variant_ends_on_codes_of_the_style(
    model: ExperimentStage2, content: torch.Tensor
) -> None:
    rendering = baselines.adain(model, content, 0.5 * content.flip(0))
    assert rendering.indices is not None
    torch.testing.assert_close(rendering.latents, model.quantize_dec.lookup(rendering.indices))
    assert len(rendering.indices.unique()) > 1


def test_transfer_is_the_models_own_output(model: ExperimentStage2) -> None:
    photograph, painting = torch.rand(2, 2, 3, 32, 32) * 2 - 1
    rendering = baselines.transfer(model, model.content_latents(photograph), model.style_latents(painting))
    torch.testing.assert_close(rendering.pictures, model(photograph, painting).clamp(-1, 1))
    assert (rendering.indices is None) == (model.variant == "continuous")


def test_the_style_vqgan_and_the_content_latents_meet_in_the_same_decoder(model: ExperimentStage2) -> None:
    photograph = torch.rand(2, 3, 32, 32) * 2 - 1
    latents = model.style_latents(photograph)
    reconstructed, decoded = baselines.style_vqgan(model, photograph), baselines.content_decoded(model, latents)
    torch.testing.assert_close(reconstructed.pictures, decoded.pictures)
    assert reconstructed.pictures.abs().max() <= 1
    assert decoded.indices is None


def test_baselines_keep_the_length_of_cosine_latents(content: torch.Tensor, style: torch.Tensor) -> None:
    ddconfig = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "resolution": 32}
    model = ExperimentStage2(ddconfig | {"z_channels": 8}, 16, 8, block_num=1, variant="continuous", cosine=True)
    for rendering in (baselines.adain(model, content, style), baselines.style_vqgan(model, torch.rand(2, 3, 32, 32))):
        torch.testing.assert_close(rendering.latents.norm(dim=1), torch.ones(2, 16, 16))


def photographs_and_paintings(pictures: dict[Domain, PackedPictures]) -> list[torch.Tensor]:
    return [pixels_to_float(pictures[domain].centre([0, 1], 32)) for domain in DOMAINS]


def test_matched_colours_are_the_paintings_with_latents_of_the_content_encoder(
    model: ExperimentStage2, pictures: dict[Domain, PackedPictures]
) -> None:
    photographs, paintings = photographs_and_paintings(pictures)
    rendering = baselines.colour_matched(model, photographs, paintings)
    torch.testing.assert_close(rendering.pictures, match_colours(photographs, paintings))
    torch.testing.assert_close(rendering.latents, model.content_latents(rendering.pictures))
    assert rendering.indices is None
    assert not torch.allclose(model.style_latents(rendering.pictures), rendering.latents)


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_magenta_paints_in_the_style_it_is_given(
    model: ExperimentStage2, pictures: dict[Domain, PackedPictures]
) -> None:
    photographs, paintings = photographs_and_paintings(pictures)
    stylizer = MagentaStylizer()
    rendering = baselines.magenta(model, stylizer, photographs, stylizer.style_vectors(paintings))
    torch.testing.assert_close(rendering.pictures, stylizer(photographs, paintings))
    torch.testing.assert_close(rendering.latents, model.content_latents(rendering.pictures))
