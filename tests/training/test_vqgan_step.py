from __future__ import annotations

import pytest
import torch

from quantart.components.codebook import EmaCodebook, KMeansCodebook
from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.stage_1 import Stage1Loss
from quantart.training.vqgan_step import Stage1Step

from ..models.networks import small_stage_1


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def make_step(*, disc_start: int = 0, quantize_from: int = 0, ema: bool = False, reference: bool = False) -> Stage1Step:
    model = small_stage_1()
    loss = Stage1Loss(NLayerDiscriminator(3, 4, 1), None, disc_start=disc_start)
    codebook = EmaCodebook(model.quantize, 0.9, 0.05) if ema else KMeansCodebook(model.quantize)
    return Stage1Step(model, loss, quantize_from=quantize_from, codebook=codebook, reference_order=reference).train()


def test_each_phase_gives_gradients_to_its_own_side_alone() -> None:
    step = make_step()
    step(pictures(), "generator", 0).loss.backward()
    assert all(p.grad is not None for p in step.generator_parameters())
    assert all(p.grad is None and p.requires_grad for p in step.discriminator_parameters())
    step.zero_grad()
    step(pictures(), "discriminator", 0).loss.backward()
    assert all(p.grad is None for p in step.generator_parameters())
    assert all(p.grad is not None for p in step.discriminator_parameters())


def test_the_generators_fake_is_kept_and_the_references_is_generated_again() -> None:
    x = pictures()
    for reference in (False, True):
        step = make_step(reference=reference)
        step(x, "generator", 0)
        with torch.no_grad():
            old = step.model(x)[0]
            step.model.decoder.conv_out.bias.add_(1.0)
            new = step.model(x)[0]
        with torch.no_grad():
            logs = step.eval()(x, "discriminator", 0).logs
            expected = step.loss.judge(new if reference else old).mean()
        assert logs["logits_fake"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_before_its_start_the_discriminator_runs_in_the_references_order_only() -> None:
    step = make_step(disc_start=2)
    assert [step.discriminator_runs(s) for s in range(4)] == [False, False, True, True]
    assert "g_loss" not in step(pictures(), "generator", 1).logs
    assert "g_loss" in step(pictures(), "generator", 2).logs
    reference = make_step(disc_start=2, reference=True)
    assert reference.discriminator_runs(0)
    assert reference(pictures(), "generator", 0).logs["disc_factor"].item() == 0.0


def test_discriminator_phase_alone_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="generator's phase must come before"):
        make_step()(pictures(), "discriminator", 0)


def test_no_discriminator() -> None:
    step = Stage1Step(small_stage_1(), Stage1Loss(None, None))
    assert not step.discriminator_runs(10)
    assert step.discriminator_parameters() == []
    assert step(pictures(), "generator", 0).loss.requires_grad


@pytest.mark.parametrize("ema", [True, False])
def test_latents_pass_unquantised_until_the_codebook_is_set_by_k_means(ema: bool) -> None:
    step = make_step(quantize_from=3, ema=ema)
    codes = step.model.quantize.embedding.weight.detach().clone()
    for i in range(3):
        logs = step(pictures(i), "generator", i).logs
        assert logs["quant_loss"].item() == 0.0
        assert "usage" not in logs
    assert torch.equal(step.model.quantize.embedding.weight, codes)
    logs = step(pictures(3), "generator", 3).logs
    assert "usage" in logs
    assert ("revived" in logs) == ema
    # centres of the latents, not the random codes of before
    with torch.no_grad():
        z = step.model.latents(pictures(0))
        error = (step.model.quantize.lookup(step.model.quantize.nearest(z)) - z).square().mean()
    assert error < 0.2 * z.var()


def test_quantising_later_needs_a_codebook_that_sets_the_codes() -> None:
    with pytest.raises(ValueError, match="quantize_from 5 needs a codebook"):
        Stage1Step(small_stage_1(), Stage1Loss(None, None), quantize_from=5)


def test_moving_averages_move_the_codes_without_gradient() -> None:
    step = make_step(ema=True)
    codes = step.model.quantize.embedding.weight
    assert not any(p is codes for p in step.generator_parameters())
    before = codes.detach().clone()
    output = step(pictures(), "generator", 0)
    output.loss.backward()
    assert codes.grad is None
    assert not torch.equal(codes, before)
    moved = codes.detach().clone()
    step.eval()(pictures(), "generator", 1)
    assert torch.equal(codes, moved)


def test_training_lowers_the_loss() -> None:
    model = small_stage_1()
    step = Stage1Step(model, Stage1Loss(None, None), quantize_from=5, codebook=KMeansCodebook(model.quantize))
    optimizer = torch.optim.Adam(step.generator_parameters(), 3e-3)
    smooth = torch.nn.functional.interpolate(pictures()[..., :4, :4], size=16, mode="bilinear")
    losses = []
    for i in range(40):
        loss, logs = step.train()(smooth, "generator", i)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(logs["rec_loss"].item())
    assert losses[-1] < 0.8 * losses[0]


def test_losses_are_float32_under_bfloat16() -> None:
    step = make_step(ema=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [step(pictures(), phase, 0) for phase in ("generator", "discriminator")]
    for output in outputs:
        assert output.loss.dtype == torch.float32
        assert all(log.isfinite() and log.shape == () and not log.requires_grad for log in output.logs.values())
    outputs[0].loss.backward()
