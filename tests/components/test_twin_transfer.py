from __future__ import annotations

import pytest
import torch

from quantart.components.style_transfer import adain
from quantart.components.twin_transfer import TwinTransferModule


def make_network(trained: bool = True) -> TwinTransferModule:
    torch.manual_seed(0)
    network = TwinTransferModule(6, width=8, coarse_blocks=2, fine_blocks=1)
    if trained:
        torch.nn.init.normal_(network.conv_out.weight, std=0.1)
    return network.eval()


def latents(height: int, width: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(2, 6, height, width, generator=torch.Generator().manual_seed(seed))


def test_a_new_network_gives_the_content_the_styles_statistics() -> None:
    content, style = latents(9, 12), 3.0 * latents(7, 8, seed=2) + 1.0
    torch.testing.assert_close(make_network(trained=False)(content, style), adain(content, style), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("height", "width"), [(9, 12), (2, 2), (65, 131)])
def test_a_picture_has_one_answer_of_its_own_size_alone_and_in_a_batch(height: int, width: int) -> None:
    network, content, style = make_network(), latents(height, width), latents(5, 4, seed=2)
    together = network(content, style)
    assert together.shape == content.shape
    assert torch.equal(together, network(content, style))
    torch.testing.assert_close(together[1:], network(content[1:], style[1:]), atol=1e-5, rtol=1e-4)


def test_features_of_a_style_stand_for_it_whatever_the_content() -> None:
    network, style = make_network(), latents(5, 4, seed=2)
    features = network.style_features(style)
    for content in (latents(9, 12), latents(8, 8, seed=3)):
        assert torch.equal(network(content, features), network(content, style))
    tensors = [features.mean, features.deviation, *(each for site in features.sites for each in site)]
    assert features.nbytes == sum(4 * each.numel() for each in tensors if each is not None)


def test_the_answer_depends_on_where_the_style_has_what_at_the_attention_alone() -> None:
    network, content, style = make_network(), latents(8, 8), latents(8, 8, seed=2)
    assert (network(content, style) - network(content, style.flip(3))).abs().max() > 1e-4
    for block in network.coarse:
        block.norm1.query = None
    # what convolutions see at the borders and between neighbours still differs under a mirror; a constant does not
    flat = style.mean((2, 3), keepdim=True).expand_as(style).contiguous()
    assert torch.equal(network(content, flat), network(content, flat.flip(3)))


def test_noise_is_new_in_training_and_makes_something_of_a_flat_area() -> None:
    network, content, style = make_network(), torch.ones(1, 6, 8, 8), latents(8, 8, seed=2)[:1]
    painted = network(content, style)
    assert painted[..., 3:5, 3:5].std((2, 3)).max() > 1e-3
    network.train()
    assert not torch.equal(network(content, style), network(content, style))


def test_only_training_moves_the_running_statistics_which_reach_those_of_the_styles() -> None:
    network, style = make_network(), 2.0 * latents(8, 8) + 3.0
    network.standardise(style)
    norm = network.norm_down
    network(style, style)
    assert norm.batches == 0
    network.train()
    for _ in range(3):
        network(style, style)
    features = network.conv_in((style - network.mean) / network.deviation)
    deviation, mean = torch.std_mean(features, (0, 2, 3), correction=0)
    torch.testing.assert_close(norm.running_mean.flatten(), mean, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.running_var.sqrt().flatten(), deviation, atol=1e-2, rtol=1e-1)


def test_everything_but_the_fixed_noise_is_trained() -> None:
    network = make_network().train()
    network(latents(8, 8), latents(8, 8, seed=2)).square().mean().backward()
    assert {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()} == set()


@pytest.mark.parametrize("training", [False, True])
def test_statistics_stay_in_full_precision_under_autocast(training: bool) -> None:
    network = make_network().train(training)
    content, style = latents(8, 8), latents(8, 8, seed=2)
    torch.manual_seed(0)
    exact = network(content, style)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        output = network(content, style)
    assert output.dtype == torch.float32
    torch.testing.assert_close(output, exact, atol=0.05, rtol=0.05)
