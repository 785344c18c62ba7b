from __future__ import annotations

import pytest
import torch
from torch import Tensor

from quantart.components.codebook import CodeWindow, EmaCodebook, KMeansCodebook, kmeans
from quantart.components.quantizer import VectorQuantizer


def latents(n: int, *centres: tuple[float, float], spread: float = 0.01, seed: int = 0) -> Tensor:
    """`(1, 2, n, len(centres))`: n latents around each centre."""
    noise = spread * torch.randn(n, len(centres), 2, generator=torch.Generator().manual_seed(seed))
    return (torch.tensor(centres) + noise).permute(2, 0, 1).unsqueeze(0)


def test_kmeans_finds_separate_clusters() -> None:
    points = latents(200, (0.0, 0.0), (5.0, 0.0), (0.0, 5.0)).permute(0, 2, 3, 1).reshape(-1, 2)
    centres = kmeans(points, 12, 10, torch.Generator().manual_seed(0))
    assert torch.cdist(points, centres).min(1).values.max() < 0.05


def test_kmeans_of_fewer_points_than_centres_uses_every_point() -> None:
    points = torch.eye(3)
    centres = kmeans(points, 5, 3, torch.Generator().manual_seed(0))
    assert centres.shape == (5, 3)
    assert torch.cdist(points, centres).min(1).values.max() < 1e-6


def test_initialise_needs_observations_and_uses_only_those() -> None:
    quantizer = VectorQuantizer(4, 2)
    codebook = KMeansCodebook(quantizer)
    with pytest.raises(ValueError, match="observe"):
        codebook.initialise()
    codebook.observe(latents(3, (7.0, 7.0)), step=0)
    codebook.initialise()
    # the reservoir's empty rows, which are 0, must not become codes
    assert (quantizer.embedding.weight - 7.0).abs().max() < 0.1


def test_reservoir_keeps_the_newest() -> None:
    quantizer = VectorQuantizer(2, 2)
    codebook = KMeansCodebook(quantizer)
    for step in range(40):
        codebook.observe(torch.full((1, 2, 1, 2), float(step)), step)
    assert codebook.filled == len(codebook.reservoir) == 32
    assert sorted(codebook.reservoir[:, 0].tolist()) == sorted([float(s) for s in range(24, 40)] * 2)


def test_update_equals_decayed_sums_over_decayed_counts() -> None:
    torch.manual_seed(0)
    quantizer = VectorQuantizer(3, 2)
    codebook = EmaCodebook(quantizer, decay=0.9, revive_below=0.0)
    counts, sums = torch.ones(3), quantizer.embedding.weight.detach().clone()
    for step in range(5):
        z, indices = torch.randn(2, 2, 4, 4), torch.randint(3, (2, 4, 4))
        codebook.update(z, indices, step)
        rows, chosen = z.permute(0, 2, 3, 1).reshape(-1, 2), indices.flatten()
        mean_use = len(rows) / 3
        for k in range(3):
            counts[k] = 0.9 * counts[k] + 0.1 * (chosen == k).sum() / mean_use
            sums[k] = 0.9 * sums[k] + 0.1 * rows[chosen == k].sum(0) / mean_use
    assert torch.allclose(codebook.counts, counts, atol=1e-6)
    assert torch.allclose(quantizer.embedding.weight, sums / counts[:, None], atol=1e-5)


def test_dead_codes_are_revived_from_recent_latents_and_live_ones_stay() -> None:
    quantizer = VectorQuantizer(8, 2)
    codebook = EmaCodebook(quantizer, decay=0.5, revive_below=0.3)
    with torch.no_grad():
        quantizer.embedding.weight.copy_(torch.full((8, 2), -50.0))
        quantizer.embedding.weight[0] = 3.0
    revived = []
    for step in range(2):
        z = latents(8, (3.0, 3.0), seed=step)
        codebook.observe(z, step)
        revived.append(int(codebook.update(z, quantizer.nearest(z), step)))
    # an unused code's share of the mean use goes 1, 0.5, 0.25, which is below 0.3
    assert revived == [0, 7]
    assert (quantizer.embedding.weight - 3.0).abs().max() < 0.1
    assert codebook.counts[1:].eq(1.0).all()


def test_a_resumed_codebook_goes_on_as_the_uninterrupted_one() -> None:
    def run(codebook: EmaCodebook, steps: range) -> None:
        for step in steps:
            z = latents(16, (0.0, 0.0), (1.0, 1.0), spread=0.5, seed=step)
            codebook.observe(z, step)
            codebook.update(z, codebook.quantizer.nearest(z), step)

    def fresh() -> EmaCodebook:
        torch.manual_seed(1)
        return EmaCodebook(VectorQuantizer(12, 2), decay=0.5, revive_below=0.2, seed=4)

    whole, first, second = fresh(), fresh(), fresh()
    run(whole, range(8))
    run(first, range(4))
    second.load_state_dict(first.state_dict())
    second.quantizer.load_state_dict(first.quantizer.state_dict())
    torch.manual_seed(99)  # the global generator must not matter
    run(second, range(4, 8))
    assert torch.equal(whole.quantizer.embedding.weight, second.quantizer.embedding.weight)


def test_the_quantizer_stays_the_models_own() -> None:
    quantizer = VectorQuantizer(4, 2)
    codebook = EmaCodebook(quantizer, 0.9, 0.1)
    assert set(codebook.state_dict()) == {"reservoir", "filled", "counts"}
    assert set(quantizer.state_dict()) == {"embedding.weight"}
    assert not quantizer.embedding.weight.requires_grad


def test_cosine_codes_follow_the_latents_directions() -> None:
    quantizer = VectorQuantizer(2, 2, cosine=True)
    quantizer.embedding.weight.data = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    codebook = EmaCodebook(quantizer, decay=0.0, revive_below=0.0)
    z = torch.tensor([[3.0, 4.0], [-2.0, 0.0]]).T.reshape(1, 2, 1, 2)
    codebook.update(z, torch.tensor([[[0, 1]]]), step=0)
    assert torch.allclose(quantizer.codes, torch.tensor([[0.6, 0.8], [-1.0, 0.0]]))
    codebook.observe(z, step=0)
    assert torch.allclose(codebook.reservoir[-2:].norm(dim=1), torch.ones(2))


def test_the_window_counts_the_newest_indices_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CodeWindow, "WINDOW", 4)
    window = CodeWindow(4)
    window.add(torch.tensor([[0, 1]]))
    assert window.statistics()["usage"] == 0.5
    window.add(torch.tensor([2, 2, 3]))
    assert window.indices.tolist() == [1, 2, 2, 3]
    assert window.statistics()["usage"] == 0.75
    assert window.statistics()["perplexity"].item() == pytest.approx(2.0**1.5)
    window.add(torch.tensor([0, 0, 0, 1, 1, 1]))
    assert window.indices.tolist() == [0, 1, 1, 1]
