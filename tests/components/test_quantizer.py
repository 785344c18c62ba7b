from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from quantart.components import quantizer as module
from quantart.components.quantizer import VectorQuantizer, code_counts, codebook_statistics, rotate_to


def quantizer(n_e: int = 20, e_dim: int = 6, **options: bool) -> VectorQuantizer:
    torch.manual_seed(0)
    q = VectorQuantizer(n_e, e_dim, **options)
    torch.nn.init.normal_(q.embedding.weight)
    return q


@given(b=st.integers(1, 3), h=st.integers(1, 5), w=st.integers(1, 5), seed=st.integers(0, 99))
def test_nearest_is_the_euclidean_nearest(b: int, h: int, w: int, seed: int) -> None:
    q = quantizer()
    z = torch.randn(b, 6, h, w, generator=torch.Generator().manual_seed(seed))
    distance = torch.cdist(z.permute(0, 2, 3, 1).reshape(-1, 6), q.embedding.weight)
    chosen = distance.gather(1, q.nearest(z).reshape(-1, 1)).squeeze(1)
    assert torch.allclose(chosen, distance.min(1).values, atol=1e-5)


def test_near_ties_of_an_untrained_codebook_fall_as_in_the_references_expression() -> None:
    torch.manual_seed(0)
    q = VectorQuantizer(4096, 64)
    z = torch.randn(4, 64, 16, 16)
    flat, codes = z.permute(0, 2, 3, 1).reshape(-1, 64), q.embedding.weight
    distance = (flat**2).sum(1, keepdim=True) + (codes**2).sum(1) - 2 * torch.einsum("bd,nd->bn", flat, codes)
    assert torch.equal(q.nearest(z).flatten(), distance.argmin(1))


def test_many_latents_are_compared_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    q, z = quantizer(), torch.randn(2, 6, 9, 7)
    whole = q.nearest(z)
    monkeypatch.setattr(module, "CPU_DISTANCES", 12 * 20)
    sizes: list[int] = []
    plain = module._distances
    monkeypatch.setattr(module, "_distances", lambda z, codes: sizes.append(len(z)) or plain(z, codes))
    assert torch.equal(q.nearest(z), whole)
    assert sizes == [12] * 10 + [6]


@pytest.mark.parametrize("codes", [64, 192, 100])
def test_the_first_of_equally_near_codes_is_taken(codes: int) -> None:
    q, z = quantizer(codes), torch.randn(1, 6, 8, 8)
    q.embedding.weight.data[codes // 2 :] = q.embedding.weight.data[: codes // 2]
    flat = z.permute(0, 2, 3, 1).reshape(-1, 6)
    assert torch.equal(q.nearest(z).flatten(), torch.cdist(flat, q.embedding.weight).argmin(1))
    assert q.nearest(z).max() < codes // 2


def test_codes_are_their_own_nearest_and_lookup_keeps_positions() -> None:
    q = quantizer()
    indices = torch.randint(20, (2, 3, 4))
    codes = q.lookup(indices)
    assert codes.shape == (2, 6, 3, 4)
    assert torch.equal(codes[1, :, 2, 0], q.embedding.weight[indices[1, 2, 0]])
    assert torch.equal(q.nearest(codes), indices)


def test_distances_stay_float32_under_autocast() -> None:
    q = quantizer(512, 32)
    z = torch.randn(1, 32, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        result = q(z)
    assert torch.equal(result.indices, q.nearest(z))
    assert result.z_q.dtype == result.loss.dtype == torch.float32


@pytest.mark.parametrize(("legacy", "codebook_weight", "commitment_weight"), [(True, 0.25, 1.0), (False, 1.0, 0.25)])
def test_beta_stands_on_the_term_that_legacy_says(
    legacy: bool, codebook_weight: float, commitment_weight: float
) -> None:
    q = quantizer(legacy=legacy)
    z = torch.randn(1, 6, 2, 2, requires_grad=True)
    result = q(z)
    result.loss.backward()
    difference = (z - q.lookup(result.indices)).detach()
    assert torch.allclose(result.loss, (codebook_weight + commitment_weight) * difference.square().mean())
    # only the commitment term moves the latents, only the codebook term the codes
    assert torch.allclose(z.grad, commitment_weight * 2.0 * difference / difference.numel(), atol=1e-7)
    total = q.embedding.weight.grad.sum(0)
    assert torch.allclose(total, -codebook_weight * 2.0 * difference.sum((0, 2, 3)) / difference.numel(), atol=1e-6)


def test_gradient_passes_straight_through() -> None:
    q = quantizer()
    z, weight = torch.randn(1, 6, 2, 2, requires_grad=True), torch.randn(1, 6, 2, 2)
    (q(z).z_q * weight).sum().backward()
    assert torch.equal(z.grad, weight)


def test_cosine_compares_directions_alone() -> None:
    q = VectorQuantizer(2, 2, cosine=True)
    q.embedding.weight.data = torch.tensor([[100.0, 0.0], [0.0, 0.01]])
    z = torch.tensor([0.1, 3.0]).view(1, 2, 1, 1)  # nearer to the second code in angle, and of no code's length
    result = q(z)
    assert result.indices.item() == 1
    assert result.z_q.flatten().tolist() == [0.0, 1.0]
    unit = z / z.norm()
    assert result.loss.item() == pytest.approx(
        1.25 * (unit.flatten() - torch.tensor([0.0, 1.0])).square().mean().item()
    )
    assert torch.equal(q.project(q.project(z)), q.project(z))


def test_cosine_codes_are_used_at_length_one_and_stored_as_they_are() -> None:
    q = quantizer(cosine=True)
    assert torch.allclose(q.lookup(torch.arange(20).view(1, 4, 5)).norm(dim=1), torch.ones(1, 4, 5))
    assert q.embedding.weight.norm(dim=1).std() > 0.1


def test_rotation_gives_the_codes_and_turns_their_gradient_back_to_the_latents() -> None:
    z, q, weight = (torch.randn(5, dtype=torch.float64) for _ in range(3))
    latent = z.view(1, 5, 1, 1).clone().requires_grad_()
    turned = rotate_to(q.view(1, 5, 1, 1), latent)
    (turned.flatten() @ weight).backward()
    assert torch.equal(turned.flatten(), q)
    # the rotation in the plane of z and q that takes z's direction to q's, built from an orthonormal basis of it
    e = z / z.norm()
    f = q - (q @ e) * e
    f = f / f.norm()
    angle = torch.acos(q @ e / q.norm())
    plane = torch.outer(e, e) + torch.outer(f, f)
    rotation = torch.eye(5) - plane + angle.cos() * plane + angle.sin() * (torch.outer(f, e) - torch.outer(e, f))
    assert torch.allclose(rotation @ e, q / q.norm())
    assert torch.allclose(latent.grad.flatten(), q.norm() / z.norm() * rotation.T @ weight)


def test_rotation_changes_the_gradient_alone() -> None:
    straight, rotated = quantizer(), quantizer(rotation=True)
    z = torch.randn(2, 6, 3, 3)
    gradients = []
    for q in (straight, rotated):
        latents = z.clone().requires_grad_()
        result = q(latents)
        result.z_q.square().sum().backward()
        gradients.append(latents.grad)
    assert torch.equal(straight(z).indices, rotated(z).indices)
    assert torch.allclose(straight(z).z_q, rotated(z).z_q, atol=1e-6)
    assert not torch.allclose(gradients[0], gradients[1], atol=0.1)


def test_statistics_of_known_counts() -> None:
    counts = code_counts(torch.tensor([[0, 0], [2, 2]]), 4)
    assert counts.tolist() == [2.0, 0.0, 2.0, 0.0]
    statistics = codebook_statistics(counts)
    assert statistics["usage"].item() == 0.5
    assert math.isclose(statistics["perplexity"].item(), 2.0, rel_tol=1e-6)
