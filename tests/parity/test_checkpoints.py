"""The reference's own checkpoints import, and the imported models compute what the reference computed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.import_checkpoint import run

from .builders import discriminator_state, network_state, stage_1, stage_2
from .conftest import Case, read_case
from .replay import assert_replayed

ONE_PASS = 1e-5


def test_the_stage_1_checkpoint(golden: Path, tmp_path: Path) -> None:
    checkpoint, case = beside(golden, "reference_stage1.ckpt", "stage1_forward")
    model = ExperimentStage1.from_pretrained(imported(checkpoint, case, tmp_path / "out"))
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert_same(model, stage_1(without_dropout(case), state).eval())
    assert load_file(tmp_path / "out" / "discriminator.safetensors").keys() == discriminator_state(state).keys()


@torch.no_grad()
def test_the_stage_2_checkpoint_paints_the_references_picture(golden: Path, tmp_path: Path) -> None:
    checkpoint, case = beside(golden, "reference_stage2.ckpt", "stage2_transfer")
    model = ExperimentStage2.from_pretrained(imported(checkpoint, case, tmp_path / "out"))
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert_same(model, stage_2(without_dropout(case), state).eval())

    def replay(replayed: Case) -> dict[str, Tensor]:
        if replayed is not case:
            model.load_state_dict(network_state(replayed.group("state")))
        return {"out/image": model(case["in/content"], case["in/style"])}

    others = {name for name in case.expected() if name != "out/image"}
    case = case._replace(tensors={name: tensor for name, tensor in case.tensors.items() if name not in others})
    assert_replayed(replay, case, ONE_PASS)


def beside(golden: Path, checkpoint: str, name: str) -> tuple[Path, Case]:
    """A checkpoint and the case that tells its configuration."""
    paths = golden / checkpoint, golden / f"{name}.safetensors"
    for path in paths:
        if not path.is_file():
            pytest.skip(f"{golden} has no {path.name}")
    return paths[0], read_case(paths[1])


def imported(checkpoint: Path, case: Case, out: Path) -> Path:
    """Folder of the imported checkpoint, with what its tensors don't show."""
    resolution, residual = case.config["ddconfig"]["resolution"], case.config.get("use_residual")
    run(None, checkpoint, out, resolution=resolution, residual=residual)
    return out


def without_dropout(case: Case) -> dict[str, object]:
    # dropout leaves no trace in a checkpoint
    return case.config | {"ddconfig": case.config["ddconfig"] | {"dropout": 0.0}}


def assert_same(model: nn.Module, expected: nn.Module) -> None:
    assert repr(model) == repr(expected)
    state, expected_state = model.state_dict(), expected.state_dict()
    assert state.keys() == expected_state.keys()
    assert all(torch.equal(value, expected_state[name]) for name, value in state.items())
