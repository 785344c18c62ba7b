from __future__ import annotations

import pytest
import torch

from quantart.components.discriminator import ActNorm, NLayerDiscriminator


@pytest.mark.parametrize(("n_layers", "patches"), [(0, 14), (1, 14), (2, 6), (3, 2)])
def test_size_of_the_output(n_layers: int, patches: int) -> None:
    discriminator = NLayerDiscriminator(5, ndf=4, n_layers=n_layers)
    assert discriminator(torch.randn(2, 5, 32, 32)).shape == (2, 1, patches, patches)


def test_widths_double_up_to_eight_times() -> None:
    convolutions = [m for m in NLayerDiscriminator(3, 4, n_layers=5).main if isinstance(m, torch.nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [4, 8, 16, 32, 32, 32, 1]


def test_initial_weights_are_small_and_normal() -> None:
    torch.manual_seed(0)
    discriminator = NLayerDiscriminator(3, 64, 3)
    assert discriminator.main[8].weight.std().item() == pytest.approx(0.02, rel=0.02)
    assert discriminator.main[9].weight.mean().item() == pytest.approx(1.0, abs=0.01)
    assert discriminator.main[9].weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_act_norm_takes_its_scale_from_the_first_training_batch() -> None:
    norm = ActNorm(3)
    x = torch.randn(4, 3, 8, 8) * torch.tensor([1.0, 5.0, 0.1]).view(1, 3, 1, 1) + 2.0
    assert torch.equal(norm.eval()(x), x)
    y = norm.train()(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(y.std((0, 2, 3)), torch.ones(3), atol=1e-4)
    # later batches, and a reloaded module, keep the scale
    again = ActNorm(3)
    again.load_state_dict(norm.state_dict())
    assert torch.allclose(again.train()(3.0 * x), norm(3.0 * x))
    assert (norm(3.0 * x).std((0, 2, 3)) - 3.0).abs().max() < 1e-3


def test_act_norm_replaces_batch_norm() -> None:
    discriminator = NLayerDiscriminator(3, 4, 2, use_actnorm=True)
    kinds = {type(m) for m in discriminator.modules()}
    assert ActNorm in kinds
    assert torch.nn.BatchNorm2d not in kinds
    assert discriminator.main[2].bias is not None
    assert discriminator(torch.randn(2, 3, 32, 32)).isfinite().all()
