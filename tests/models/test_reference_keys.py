"""Checkpoints as other trainers leave them: under prefixes, in wrappers, beside others, with averages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from quantart.errors import UserError
from quantart.models.reference import Imported, from_state_dict, open_reference
from quantart.models.reference_config import Settings
from quantart.models.reference_keys import EMA, REST

from .networks import small_stage_1

KEY = "decoder.conv_out.weight"


def weights(seed: int = 0) -> dict[str, Tensor]:
    return dict(small_stage_1(seed).state_dict())


def under(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def lit_ema(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As latent diffusion keeps averages: buffers can't have dots in their names."""
    counters = {"model_ema.decay": torch.tensor(0.9), "model_ema.num_updates": torch.tensor(3)}
    return {f"model_ema.{key.replace('.', '')}": value for key, value in state.items()} | counters


def opened(path: Path, saved: Mapping[str, Any], **settings: Any) -> Imported:
    torch.save(saved, path / "a.ckpt")
    return open_reference(path / "a.ckpt", Settings(**settings))


def fault(path: Path, saved: Mapping[str, Any], **settings: Any) -> UserError:
    with pytest.raises(UserError) as error:
        opened(path, saved, **settings)
    return error.value


def seed_of(imported: Imported) -> int:
    """Which of `weights` the network has, all of them."""
    state = imported.network.state_dict()
    seed = next(seed for seed in range(3) if torch.equal(state[KEY], weights(seed)[KEY]))
    assert all(torch.equal(value, state[key]) for key, value in weights(seed).items())
    return seed


@pytest.mark.parametrize("prefix", ["first_stage_model.", "vqgan.", "model.generator.", "cond_stage_model."])
def test_a_prefix_is_found_and_said_and_the_rest_is_counted(tmp_path: Path, prefix: str) -> None:
    saved = {"state_dict": under(prefix, weights()) | {"transformer.tok_emb.weight": torch.zeros(2)}, "epoch": 3}
    found = opened(tmp_path, saved)
    assert (seed_of(found), found.prefix, found.dropped) == (0, prefix, {REST: 1})


def test_weights_outside_a_state_dict_are_found_beside_an_optimizer(tmp_path: Path) -> None:
    optimizer = {"state": {0: {"exp_avg": torch.zeros(1)}}, "param_groups": [{"lr": 0.1}]}
    found = opened(tmp_path, {"model": weights(), "optimizer": optimizer, "epoch": 3})
    assert (seed_of(found), found.prefix, found.dropped) == (0, "model.", {REST: 1})
    assert opened(tmp_path, {"state_dict": weights(), "optimizer": optimizer}).prefix == ""


@pytest.mark.parametrize(
    "wrapped",
    [
        under("module.", weights()),
        under("_orig_mod.", weights()),
        under("module._orig_mod.", weights()),
        {key.replace("encoder.", "encoder._orig_mod.").replace("decoder.", "decoder.module."): value
         for key, value in weights().items()},
    ],
)  # fmt: skip
def test_the_wrappers_of_trainers_are_no_part_of_a_name(wrapped: dict[str, Tensor]) -> None:
    found = from_state_dict(wrapped, Settings(), "a")
    assert (seed_of(found), found.prefix, found.dropped) == (0, "", {})


def test_a_model_that_torch_averaged_opens() -> None:
    averaged = AveragedModel(small_stage_1())
    found = from_state_dict(under("ema.", averaged.state_dict()) | weights(1), Settings(ema=True), "a")
    assert (seed_of(found), found.prefix, found.dropped) == (0, "ema.", {REST: 1 + len(weights())})


def test_of_several_networks_one_must_be_named(tmp_path: Path) -> None:
    both = under("first_stage_model.", weights(1)) | under("cond_stage_model.", weights(2))
    said = fault(tmp_path, {"state_dict": both})
    assert "first_stage_model., " in said.fault or "cond_stage_model., " in said.fault
    assert "--prefix" in (said.remedy or "")
    for seed, name in ((1, "first_stage_model"), (2, "cond_stage_model.")):
        assert seed_of(opened(tmp_path, {"state_dict": both}, prefix=name)) == seed
    said = fault(tmp_path, {"state_dict": both}, prefix="vqgan")
    assert "'vqgan'" in said.fault
    assert "first_stage_model." in (said.remedy or "")
    twice = under("module.", weights(1)) | weights(2)  # not one network in a wrapper
    assert seed_of(from_state_dict(twice, Settings(prefix=""), "a")) == 2
    assert seed_of(from_state_dict(twice, Settings(prefix="module"), "a")) == 1


@pytest.mark.parametrize(
    "saved",
    [
        {"state_dict": weights(1), "ema_state_dict": weights(2)},
        {"state_dict": weights(1), "state_dict_ema": under("module.", weights(2))},
        {"model": weights(1), "ema": {"shadow": weights(2), "decay": 0.999}},
        {"state_dict": weights(1) | under("ema_model.", weights(2))},
        {"state_dict": under("vqgan.", weights(1)) | under("vqgan_ema.module.", weights(2))},
        {"state_dict": weights(1) | lit_ema(weights(2))},
        {"state_dict": under("first_stage_model.", weights(1) | lit_ema(weights(2)))},
    ],
)
def test_averages_are_offered_and_taken_only_if_asked_for(tmp_path: Path, saved: dict[str, Any]) -> None:
    plain = opened(tmp_path, saved)
    assert seed_of(plain) == 1
    assert plain.dropped[EMA] >= len(weights())
    averaged = opened(tmp_path, saved, ema=True)
    assert seed_of(averaged) == 2
    assert "ema" in averaged.prefix
    assert EMA not in averaged.dropped


def test_averages_alone_are_taken_and_said(tmp_path: Path) -> None:
    found = opened(tmp_path, {"ema": weights(2)})
    assert (seed_of(found), found.prefix) == (2, "ema.")


def test_averages_that_are_not_there_or_lack_some_are_refused(tmp_path: Path) -> None:
    for saved in ({"state_dict": weights()}, {"model": weights(), "epoch": 1}):
        assert "--ema" in (fault(tmp_path, saved, ema=True).remedy or "")
    lacking = lit_ema(weights(2))
    del lacking["model_ema.quant_convbias"]
    said = fault(tmp_path, {"state_dict": weights() | lacking}, ema=True)
    assert "quant_conv.bias" in said.fault


def test_averages_of_the_losses_networks_are_not_needed() -> None:
    loss = {"loss.perceptual_loss.net.x": torch.zeros(1)}
    assert seed_of(from_state_dict(weights(1) | loss | lit_ema(weights(2)), Settings(ema=True), "a")) == 2


def test_what_is_no_network_is_still_strict_under_a_prefix(tmp_path: Path) -> None:
    state = under("vqgan.", weights()) | {"vqgan.colorize": torch.zeros(1)}
    assert "unexpected: colorize" in fault(tmp_path, {"state_dict": state}).fault


def test_a_dict_that_holds_itself_ends(tmp_path: Path) -> None:
    saved: dict[str, Any] = {"state_dict": weights()}
    saved["again"] = {"it": saved["state_dict"]}
    saved["again"]["self"] = saved["again"]
    assert fault(tmp_path, saved).remedy == "name one with --prefix"
