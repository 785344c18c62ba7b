from __future__ import annotations

import pytest
import torch

from quantart.components.codebook import EmaCodebook, KMeansCodebook
from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.stage_1 import Stage1Loss
from quantart.training.stage1_objective import Stage1Objective

from ..models.networks import small_stage_1


def pictures(seed: int = 0) -> torch.Tensor:
    return torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def make_objective(
    *, discriminator_start: int = 0, quantize_from: int = 0, ema: bool = False, reference: bool = False
) -> Stage1Objective:
    model = small_stage_1()
    loss = Stage1Loss(NLayerDiscriminator(3, 4, 1), None, discriminator_start=discriminator_start)
    codebook = EmaCodebook(model.quantize, 0.9, 0.05) if ema else KMeansCodebook(model.quantize)
    return Stage1Objective(
        model, loss, quantize_from=quantize_from, codebook=codebook, reference_order=reference
    ).train()


def test_each_phase_gives_gradients_to_its_own_side_alone() -> None:
    objective = make_objective()
    objective(pictures(), 0).loss.backward()
    assert all(p.grad is not None for p in objective.trained_parameters())
    assert all(p.grad is None and p.requires_grad for p in objective.discriminator_parameters())
    objective.zero_grad()
    objective(pictures(), 0, "discriminator").loss.backward()
    assert all(p.grad is None for p in objective.trained_parameters())
    assert all(p.grad is not None for p in objective.discriminator_parameters())


def test_the_generators_fake_is_kept_and_the_references_is_generated_again() -> None:
    x = pictures()
    for reference in (False, True):
        objective = make_objective(reference=reference)
        objective(x, 0)
        with torch.no_grad():
            old = objective.model(x)[0]
            objective.model.decoder.conv_out.bias.add_(1.0)
            new = objective.model(x)[0]
        with torch.no_grad():
            logs = objective.eval()(x, 0, "discriminator").logs
            expected = objective.loss.judge(new if reference else old).mean()
        assert logs["logits_fake"].item() == pytest.approx(expected.item(), abs=1e-6)


def test_before_its_start_the_discriminator_runs_in_the_references_order_only() -> None:
    objective = make_objective(discriminator_start=2)
    assert [objective.discriminator_runs(s) for s in range(4)] == [False, False, True, True]
    assert "adversarial_loss" not in objective(pictures(), 1).logs
    assert "adversarial_loss" in objective(pictures(), 2).logs
    reference = make_objective(discriminator_start=2, reference=True)
    assert reference.discriminator_runs(0)
    assert "adversarial_loss" in reference(pictures(), 0).logs
    assert reference(pictures(), 0, "discriminator").logs["discriminator_weight"].item() == 0.0


def test_discriminator_phase_alone_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="generator's phase must come before"):
        make_objective()(pictures(), 0, "discriminator")


def test_no_discriminator() -> None:
    objective = Stage1Objective(small_stage_1(), Stage1Loss(None, None))
    assert not objective.discriminator_runs(10)
    assert objective.discriminator_parameters() == []
    assert objective(pictures(), 0).loss.requires_grad


@pytest.mark.parametrize("ema", [True, False])
def test_latents_pass_unquantised_until_the_codebook_is_set_by_k_means(ema: bool) -> None:
    objective = make_objective(quantize_from=3, ema=ema)
    codes = objective.model.quantize.embedding.weight.detach().clone()
    for i in range(3):
        logs = objective(pictures(i), i).logs
        assert logs["codebook_loss"].item() == 0.0
        assert "usage" not in logs
    assert torch.equal(objective.model.quantize.embedding.weight, codes)
    logs = objective(pictures(3), 3).logs
    assert "usage" in logs
    assert ("revived" in logs) == ema
    # centres of the latents, not the random codes of before
    with torch.no_grad():
        z = objective.model.latents(pictures(0))
        error = (objective.model.quantize.lookup(objective.model.quantize.nearest(z)) - z).square().mean()
    assert error < 0.2 * z.var()


def test_quantising_later_needs_a_codebook_that_sets_the_codes() -> None:
    with pytest.raises(ValueError, match="quantize_from 5 needs a codebook"):
        Stage1Objective(small_stage_1(), Stage1Loss(None, None), quantize_from=5)


def test_moving_averages_move_the_codes_without_gradient() -> None:
    objective = make_objective(ema=True)
    codes = objective.model.quantize.embedding.weight
    assert not any(p is codes for p in objective.trained_parameters())
    before = codes.detach().clone()
    output = objective(pictures(), 0)
    output.loss.backward()
    assert codes.grad is None
    assert not torch.equal(codes, before)
    moved = codes.detach().clone()
    objective.eval()(pictures(), 1)
    assert torch.equal(codes, moved)


def test_training_lowers_the_loss() -> None:
    model = small_stage_1()
    objective = Stage1Objective(model, Stage1Loss(None, None), quantize_from=5, codebook=KMeansCodebook(model.quantize))
    optimizer = torch.optim.Adam(objective.trained_parameters(), 3e-3)
    smooth = torch.nn.functional.interpolate(pictures()[..., :4, :4], size=16, mode="bilinear")
    losses = []
    for i in range(40):
        loss, logs = objective.train()(smooth, i)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(logs["reconstruction_loss"].item())
    assert losses[-1] < 0.8 * losses[0]


def test_losses_are_float32_under_bfloat16() -> None:
    objective = make_objective(ema=True)
    with torch.autocast("cpu", torch.bfloat16):
        outputs = [objective(pictures(), 0, phase) for phase in ("generator", "discriminator")]
    for output in outputs:
        assert output.loss.dtype == torch.float32
        assert all(log.isfinite() and log.shape == () and not log.requires_grad for log in output.logs.values())
    outputs[0].loss.backward()


def test_from_a_step_on_the_decoder_alone_learns() -> None:
    model = small_stage_1()
    codebook = EmaCodebook(model.quantize, 0.5, 0.5)
    objective = Stage1Objective(model, Stage1Loss(None, None), decoder_from=2, codebook=codebook).train()
    before = model.quantize.embedding.weight.clone()
    objective(pictures(), 2).loss.backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == name.startswith(("decoder.", "post_quant_conv.")), name
    assert torch.equal(model.quantize.embedding.weight, before)
    assert codebook.filled == 0
    objective.zero_grad(set_to_none=True)
    objective(pictures(), 1).loss.backward()
    assert model.encoder.conv_in.weight.grad is not None
    assert not torch.equal(model.quantize.embedding.weight, before)
