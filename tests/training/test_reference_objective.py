from __future__ import annotations

import pytest
import torch

from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import CodeBatch
from quantart.losses.reference import ReferenceLoss
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.reference_objective import ReferenceObjective

from ..models.networks import small_stage_1


def make_objective(variant: str = "discrete", discriminator_start: int = 0) -> ReferenceObjective:
    model = ExperimentStage2.from_stage1(small_stage_1(1), small_stage_1(2), variant=variant, block_num=1)
    return ReferenceObjective(
        model, ReferenceLoss(NLayerDiscriminator(8, 4, 0), discriminator_start=discriminator_start)
    ).train()


def batch(variant: str = "discrete") -> CodeBatch:
    generator = torch.Generator().manual_seed(0)
    if variant == "continuous":
        content, style = (torch.randn(2, 8, 8, 8, generator=generator) for _ in range(2))
    else:
        content, style = (torch.randint(16, (2, 8, 8), generator=generator) for _ in range(2))
    return CodeBatch(content, style)


@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_only_the_style_transfer_network_and_the_discriminator_are_trained(variant: str) -> None:
    objective = make_objective(variant)
    before = {name: value.clone() for name, value in objective.model.state_dict().items()}
    parameters = {"generator": objective.trained_parameters(), "discriminator": objective.discriminator_parameters()}
    for phase, trained in parameters.items():
        optimizer = torch.optim.SGD(trained, 0.1)
        objective(batch(variant), 0, phase).loss.backward()
        optimizer.step()
    changed = {name for name, value in objective.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("model_x2y.") for name in changed)
    assert {id(p) for p in parameters["generator"]} == {id(p) for p in objective.model.model_x2y.parameters()}


def test_indices_are_looked_up_in_each_domains_own_codebook() -> None:
    objective = make_objective()
    content, style = batch()
    logs = objective(batch(), 0).logs
    model = objective.model
    z_c, z_s = model.quantize_enc.lookup(content), model.quantize_dec.lookup(style)
    output = model.transfer(z_c, z_s)
    assert logs["content_loss"].item() == pytest.approx((output.z - z_c).square().mean().item(), rel=1e-5)
    used = output.indices.unique()
    assert logs["usage"].item() == pytest.approx(len(used) / 16)
    assert 1.0 <= logs["perplexity"].item() <= len(used) + 1e-4


def test_the_continuous_variant_has_no_codes_to_log() -> None:
    logs = make_objective("continuous")(batch("continuous"), 0).logs
    assert "usage" not in logs
    assert logs["codebook_loss"].item() == 0.0


def test_the_discriminator_waits_for_its_start() -> None:
    objective = make_objective(discriminator_start=3)
    assert [objective.discriminator_runs(s) for s in (2, 3)] == [False, True]
    assert "adversarial_loss" not in objective(batch(), 2).logs


def test_style_is_real_and_the_output_fake() -> None:
    objective = make_objective().eval()
    objective(batch(), 0)
    logs = objective(batch(), 0, "discriminator").logs
    z_c, z_s = objective.model.quantize_enc.lookup(batch()[0]), objective.model.quantize_dec.lookup(batch()[1])
    with torch.no_grad():
        fake = objective.model.transfer(z_c, z_s).z
        assert logs["logits_real"].item() == pytest.approx(objective.loss.judge(z_s).mean().item(), abs=1e-6)
        assert logs["logits_fake"].item() == pytest.approx(objective.loss.judge(fake).mean().item(), abs=1e-6)
