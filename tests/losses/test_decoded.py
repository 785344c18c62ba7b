import pytest
import torch

from quantart.losses.decoded import TEMPERATURE, DecodedLoss
from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import all_distances, gram_matrix, relative_distance


@pytest.fixture(scope="module")
def network() -> LPIPS:
    return LPIPS("squeezenet1_1")


def pictures(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_it_is_the_gram_distance_to_the_style_and_the_perceptual_distance_to_the_content(network: LPIPS) -> None:
    loss = DecodedLoss(network, gram_weight=3.0, perceptual_weight=0.5)
    output, content, style = (pictures(seed) for seed in range(3))
    total, logs = loss(output, loss.targets(content), loss.targets(style))
    gram = relative_distance(*([gram_matrix(f) for f in network.features(x)] for x in (output, style))).mean()
    assert logs["gram_loss"].item() == pytest.approx(gram.item(), rel=1e-5)
    assert logs["perceptual_loss"].item() == pytest.approx(network(content, output).mean().item(), rel=1e-5)
    assert total.item() == pytest.approx(3 * gram.item() + 0.5 * logs["perceptual_loss"].item(), rel=1e-5)


def test_it_is_nothing_for_the_very_pictures_and_its_gradient_leads_to_the_style(network: LPIPS) -> None:
    loss = DecodedLoss(network, gram_weight=1.0)
    output, style = pictures(0).requires_grad_(), pictures(1)
    assert loss(style, None, loss.targets(style))[0].item() == pytest.approx(0.0, abs=1e-5)
    before, logs = loss(output, None, loss.targets(style))
    assert "perceptual_loss" not in logs
    before.backward()
    assert output.grad is not None
    after, _ = loss(output.detach() - 0.2 * output.grad / output.grad.norm(), None, loss.targets(style))
    assert after.item() < 0.99 * before.item()


def test_contrast_is_small_for_outputs_of_their_own_style_and_large_for_exchanged_ones(network: LPIPS) -> None:
    loss = DecodedLoss(network, contrast_weight=2.0)
    style = pictures(1)
    near = 0.9 * style
    own, logs = loss(near, None, loss.targets(style))
    exchanged, _ = loss(near.flip(0), None, loss.targets(style))
    assert own.item() == pytest.approx(2 * logs["contrast_loss"].item(), rel=1e-6)
    grams = [[gram_matrix(f) for f in network.features(x)] for x in (near, style, style.flip(0))]
    right, wrong = relative_distance(grams[0], grams[1]), relative_distance(grams[0], grams[2])
    expected = torch.log1p(torch.exp((right - wrong) / TEMPERATURE)).mean()
    assert logs["contrast_loss"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert exchanged.item() > 1.1 * own.item()


def test_contrast_leaves_out_others_of_the_same_painting_alone(network: LPIPS) -> None:
    loss = DecodedLoss(network, contrast_weight=1.0)
    output, style = (torch.cat([pictures(seed), pictures(seed + 1)])[:3] for seed in (1, 5))
    known, _ = loss(output, None, loss.targets(style), torch.tensor([7, 2, 7]))
    grams = [[gram_matrix(f) for f in network.features(x)] for x in (output, style)]
    distances = all_distances(*grams) / TEMPERATURE
    others = [[0, 1], [0, 1, 2], [1, 2]]
    terms = [(-distances[i, others[i]]).logsumexp(0) + distances[i, i] for i in range(3)]
    assert known.item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-4)
    all_different, _ = loss(output, None, loss.targets(style))
    assert known.item() < all_different.item()


def test_half_precision_of_the_networks_does_not_reach_the_distances(network: LPIPS) -> None:
    loss = DecodedLoss(network, gram_weight=1.0, contrast_weight=1.0)
    output, style = loss.targets(pictures(0)), loss.targets(pictures(1))
    exact, _ = loss._of_features(output, None, style, None)
    with torch.autocast("cpu", torch.bfloat16), pytest.MonkeyPatch.context() as patch:
        patch.setattr(loss, "targets", lambda _: output)
        assert loss(pictures(0), None, style)[0].item() == exact.item()
