"""The reference's own checkpoints import, and the imported models compute what the reference computed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.import_checkpoint import run

from .builders import assert_near, discriminator_state
from .conftest import Case

ONE_PASS = 1e-5


def imported(golden: Path, stage: int, out: Path) -> Path:
    """Folder of the imported checkpoint; the resolution is that of the case beside it."""
    checkpoint = golden / f"reference_stage{stage}.ckpt"
    if not checkpoint.is_file():
        pytest.skip(f"{golden} has no {checkpoint.name}")
    ddconfig = golden_case(golden, "stage1_forward" if stage == 1 else "stage2_transfer").config["ddconfig"]
    run(None, checkpoint, out, resolution=ddconfig["resolution"])
    return out


def golden_case(golden: Path, name: str) -> Case:
    with safe_open(golden / f"{name}.safetensors", "pt") as file:
        return Case(json.loads(file.metadata()["config"]), {key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118


def test_the_stage_1_checkpoint(golden: Path, tmp_path: Path) -> None:
    out = imported(golden, 1, tmp_path / "out")
    model = ExperimentStage1.from_pretrained(out)
    case = golden_case(golden, "stage1_forward")
    assert model.config == {**model.config, **case.config, "legacy": True}
    with safe_open(out / "discriminator.safetensors", "pt") as file:
        kept = set(file.keys())
    checkpoint = torch.load(golden / "reference_stage1.ckpt", weights_only=True)["state_dict"]
    assert kept == set(discriminator_state(checkpoint))
    assert all(torch.equal(value, checkpoint[key]) for key, value in model.state_dict().items())


@torch.no_grad()
def test_the_stage_2_checkpoint_paints_the_references_picture(golden: Path, tmp_path: Path) -> None:
    model = ExperimentStage2.from_pretrained(imported(golden, 2, tmp_path / "out"))
    case = golden_case(golden, "stage2_transfer")
    assert {key: model.config[key] for key in ("ddconfig", "n_embed", "embed_dim")} == {
        key: case.config[key] for key in ("ddconfig", "n_embed", "embed_dim")
    }
    assert_near(model(case["in/content"], case["in/style"]), case["out/image"], ONE_PASS, "image")
