"""Names of metrics, and whether larger is better."""

from __future__ import annotations

import pytest

from quantart.vocabulary.metrics import METRICS, check_metric, larger_is_better


@pytest.mark.parametrize(
    "name",
    [
        "lpips_vgg16",
        "perceptual_squeezenet1_1",
        "texture_alexnet",
        "structure_efficientnet_lite0",
        "kid",
        "fd_inception_v3",
        "usage",
    ]
    + ["composite_squeezenet1_1_efficientnet_lite0", "colour_rgb", "latent_style"],
)
def test_what_an_evaluation_measures_is_a_metric(name: str) -> None:
    assert check_metric(name) == name


def test_a_name_typed_wrong_gets_the_near_ones() -> None:
    with pytest.raises(ValueError, match=r"'gram_squeeznet'.* gram_squeezenet1_1"):
        check_metric("gram_squeeznet")
    with pytest.raises(ValueError, match="'xyz'.*`quantart registry show`"):
        check_metric("xyz")


def test_only_the_use_of_the_codebook_should_be_large() -> None:
    assert {name for name in METRICS if larger_is_better(name)} == {"usage", "perplexity"}


def test_metrics_of_reconstructions_have_a_direction_and_are_no_gates() -> None:
    for name, larger in (("psnr", True), ("ssim", True), ("delta_e", False)):
        assert larger_is_better(name) == larger
        with pytest.raises(ValueError, match=f"'{name}'"):
            check_metric(name)
