"""Fidelity control: its corners are the models themselves, byte for byte, and nothing that is stored changes."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quantart.errors import UserError
from quantart.models import fidelity
from quantart.models.alpha_beta import ALPHA_OF, Fidelity, checked_fidelity
from quantart.models.fidelity import FidelityControl, mixed_decoder
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import Variant

from .networks import DDCONFIG, small_stage_1


def model(
    variant: Variant, seeds: tuple[int, int] = (1, 2), transfer_seed: int = 0, **options: Any
) -> ExperimentStage2:
    content, style = (small_stage_1(seed, **options) for seed in seeds)
    torch.manual_seed(transfer_seed)
    return ExperimentStage2.from_stage1(content, style, variant=variant, block_num=1).eval()


@pytest.fixture
def control() -> FidelityControl:
    """Both variants with the same encoders; decoders and transfer networks of their own."""
    continuous = model("continuous", transfer_seed=7)
    torch.manual_seed(8)
    for parameter in continuous.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return FidelityControl(model("discrete"), continuous)


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    torch.manual_seed(5)
    content, style = (torch.rand(2, 3, 16, 16) * 2 - 1 for _ in range(2))
    return content, style


@torch.no_grad()
@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_alpha_at_its_ends_is_the_one_model_byte_for_byte(
    variant: Variant, control: FidelityControl, pictures: tuple[Tensor, Tensor]
) -> None:
    alone: ExperimentStage2 = getattr(control, variant)
    setattr(control, "continuous" if variant == "discrete" else "discrete", None)  # and the other does nothing
    assert torch.equal(control(*pictures, alpha=ALPHA_OF[variant]), alone(*pictures))
    content = alone.decode(alone.content_latents(pictures[0]))
    alone.model_x2y = torch.nn.Module()  # fails when called
    assert torch.equal(control(*pictures, alpha=ALPHA_OF[variant], beta=0.0), content)


@torch.no_grad()
def test_between_its_ends_all_four_latents_and_both_decoders_are_mixed(
    control: FidelityControl, pictures: tuple[Tensor, Tensor]
) -> None:
    discrete, continuous = control.discrete, control.continuous
    assert discrete is not None
    assert continuous is not None
    alpha, beta = 0.3, 0.8
    parts = []
    for each in (discrete, continuous):
        z_c = each.content_latents(pictures[0])
        parts.append(beta * each.transfer(z_c, each.style_latents(pictures[1])).z + (1 - beta) * z_c)
    z = alpha * parts[0] + (1 - alpha) * parts[1]
    by_hand = copy.deepcopy(discrete)
    for name, parameter in by_hand.named_parameters():
        parameter.copy_(alpha * parameter + (1 - alpha) * dict(continuous.named_parameters()).get(name, parameter))
    torch.testing.assert_close(control(*pictures, alpha=alpha, beta=beta), by_hand.decode(z), rtol=0, atol=1e-5)
    assert not torch.allclose(by_hand.decode(z), discrete.decode(z), atol=1e-2)


@torch.no_grad()
def test_the_decoder_of_the_last_alpha_is_kept(
    control: FidelityControl, pictures: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[float] = []
    plain = fidelity.mixed_decoder
    monkeypatch.setattr(fidelity, "mixed_decoder", lambda d, c, alpha: made.append(alpha) or plain(d, c, alpha))
    alphas = [0.5, 0.5, 0.25, 0.25, 1.0, 0.25, 0.5]
    with torch.inference_mode():
        found = [control(*pictures, alpha=alpha, beta=beta) for alpha in alphas for beta in (1.0, 0.5)]
    assert made == [0.5, 0.25, 0.5]
    assert torch.equal(found[0], found[2])
    assert torch.equal(found[0], found[-2])
    assert torch.equal(found[4], found[6])
    assert not torch.equal(found[0], found[4])
    control.train()
    z = control.latents(*pictures, control.fidelity(0.5)).requires_grad_()
    with torch.enable_grad():  # made in inference mode or not
        control.decode(z, control.fidelity(0.5)).sum().backward()
    assert z.grad is not None
    assert len(made) == 4  # in training mode it is another one


@torch.no_grad()
def test_what_both_have_of_the_same_vqgans_is_kept_once_and_changes_no_picture(pictures: tuple[Tensor, Tensor]) -> None:
    content, style = pictures
    discrete, continuous = model("discrete"), model("continuous", transfer_seed=7)
    alone = copy.deepcopy((discrete, continuous))
    control = FidelityControl(discrete, continuous)
    shared = {name for name, part in continuous.named_children() if part is discrete.get_submodule(name)}
    assert shared == {name for name, _ in continuous.named_children()} - {"model_x2y"}
    coded, plain = (each.transfer(each.content_latents(content), each.style_latents(style)).z for each in alone)
    expected = mixed_decoder(*alone, alpha=0.5)(torch.lerp(plain, coded, 0.5))
    assert torch.allclose(control(*pictures, alpha=0.5, beta=1.0), expected, atol=1e-5)


@torch.no_grad()
def test_threads_that_mix_by_different_alphas_do_not_disturb_each_other(
    control: FidelityControl, pictures: tuple[Tensor, Tensor]
) -> None:
    alphas = [0.1, 0.2, 0.3, 0.4]
    z = control.latents(*pictures, control.fidelity(0.5))
    expected = {alpha: control.decode(z, control.fidelity(alpha)) for alpha in alphas}
    with ThreadPoolExecutor(4) as threads:
        for alpha, picture in zip(
            alphas * 8,
            threads.map(lambda alpha: torch.no_grad()(control.decode)(z, control.fidelity(alpha)), alphas * 8),
            strict=True,
        ):
            assert torch.equal(picture, expected[alpha])


@torch.no_grad()
def test_no_call_changes_what_is_stored(control: FidelityControl, pictures: tuple[Tensor, Tensor]) -> None:
    before = {name: value.clone() for name, value in control.state_dict().items()}
    first = control(*pictures, alpha=1.0)
    for alpha, beta in [(0.5, 1.0), (0.0, 0.5), (0.9, 0.0)]:
        control(*pictures, alpha=alpha, beta=beta)
    assert torch.equal(control(*pictures, alpha=1.0), first)
    after = control.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.items())


@torch.no_grad()
def test_without_alpha_it_is_the_discrete_model_where_there_is_one(
    control: FidelityControl, pictures: tuple[Tensor, Tensor]
) -> None:
    assert control.discrete is not None
    assert control.continuous is not None
    assert torch.equal(control(*pictures), control.discrete(*pictures))
    alone = FidelityControl(None, control.continuous)
    assert torch.equal(alone(*pictures), control.continuous(*pictures))


@pytest.mark.parametrize("value", [1.5, -1e-9, float("nan"), float("inf"), True, "0.5"])
def test_what_is_no_number_from_0_to_1_is_named(value: Any, control: FidelityControl) -> None:
    nothing = torch.empty(0)
    for name in ("alpha", "beta"):
        with pytest.raises(UserError) as refused:
            control(nothing, nothing, **{name: value})
        assert refused.value.fault.startswith(f"{name} = {value!r}: ")
    with pytest.raises(UserError, match="beta = None"):
        control.fidelity(beta=None)  # type: ignore[arg-type]


def test_numbers_of_other_kinds_are_numbers() -> None:
    assert checked_fidelity(np.float32(0.5), 1, ["discrete", "continuous"]) == Fidelity(0.5, 1.0)


@pytest.mark.parametrize(
    ("variant", "alpha", "missing"),
    [("discrete", 0.5, "continuous"), ("discrete", 0.0, "continuous"), ("continuous", 1.0, "discrete")],
)
def test_one_variant_alone_fixes_alpha(variant: Variant, alpha: float, missing: str) -> None:
    control = FidelityControl.of(model(variant))
    assert control.fidelity(ALPHA_OF[variant], 0.5) == (ALPHA_OF[variant], 0.5)
    with pytest.raises(UserError, match=f"alpha = {alpha:g}: .*{missing}") as refused:
        control.fidelity(alpha)
    assert f"alpha at {ALPHA_OF[variant]:g}" in refused.value.remedy


def test_models_of_another_shape_are_not_mixed() -> None:
    other = model("continuous", ddconfig={**DDCONFIG, "ch": 16}, embed_dim=4, cosine=True)
    with pytest.raises(UserError, match=r"differ in ch \(8 and 16\), embed_dim \(8 and 4\), cosine \(False and True\)"):
        FidelityControl(model("discrete"), other)


def test_a_model_in_the_others_place_is_named() -> None:
    discrete = model("discrete")
    with pytest.raises(UserError, match="continuous one is discrete"):
        FidelityControl(None, discrete)
    with pytest.raises(UserError, match="2 networks are discrete"):
        FidelityControl.of(discrete, discrete)
    with pytest.raises(UserError, match="no network"):
        FidelityControl(None, None)


@pytest.mark.parametrize(
    ("alpha", "beta", "name"), [(0.5, 1, "a0.50_b1.00"), (0.505, 0, "a0.505_b0.00"), (1e-5, 1.0, "a1e-05_b1.00")]
)
def test_every_setting_has_a_name_of_its_own(alpha: float, beta: float, name: str) -> None:
    assert checked_fidelity(alpha, beta, ["discrete", "continuous"]).name == name


@torch.no_grad()
def test_while_decoders_are_mixed_the_network_decodes_as_ever(
    control: FidelityControl, pictures: tuple[Tensor, Tensor]
) -> None:
    assert control.discrete is not None
    between, alone = control.fidelity(0.5), control.fidelity(1.0)
    z = control.latents(*pictures, between)
    expected = control.decode(z, between), control.decode(z, alone)
    control.decode(z, control.fidelity(0.25))  # so that the other one is mixed anew, with the hook
    meanwhile: list[Tensor] = []

    def another_request(*_: object) -> None:
        if not meanwhile:
            meanwhile.append(torch.empty(0))  # the hook is called by its own call as well
            meanwhile.append(control.decode(z, alone))

    control.discrete.decoder.mid.register_forward_hook(another_request)
    assert torch.equal(control.decode(z, between), expected[0])
    assert torch.equal(meanwhile[1], expected[1])


@torch.no_grad()
def test_latents_computed_beforehand_give_the_same_picture(
    control: FidelityControl, pictures: tuple[Tensor, Tensor]
) -> None:
    content, style = pictures
    for alpha, beta, styled in [(0.4, 0.7, 2), (1.0, 1.0, 1), (0.4, 0.0, 0)]:
        fidelity = control.fidelity(alpha, beta)
        contents = {v: control.models[v].content_latents(content) for v in fidelity.variants}
        styles = {v: control.models[v].style_latents(style) for v in fidelity.styled}
        painted = {v: control.models[v].transfer(contents[v], style).z for v, style in styles.items()}
        assert len(painted) == styled
        z = control.mixed_latents(contents, painted, fidelity)
        assert torch.equal(control.decode(z, fidelity), control(content, style, alpha, beta))
