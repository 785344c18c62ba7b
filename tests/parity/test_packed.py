"""The repository's golden numbers are whole, and packing keeps them exactly."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from .conftest import read_case
from .packed import PACKED, pack, unpack

CASES = {
    *("quantizer_legacy", "quantizer_corrected", "encoder", "decoder", "discriminator_0", "discriminator_3"),
    *(f"style_transfer_{kind}" for kind in ("default", "no_conv", "no_residual", "no_selfatt")),
    *("stage1_forward", "stage2_transfer", "stage2_continuous_transfer", "stage2_loss", "fidelity_control"),
    *("stage1_train", "stage2_train"),
}


def test_every_case_of_the_reference_is_here_in_less_than_5_megabytes(tmp_path: Path) -> None:
    unpack(PACKED, tmp_path)
    checkpoints = {"reference_stage1.ckpt", "reference_stage2.ckpt"}
    assert {file.name for file in tmp_path.iterdir()} == {f"{case}.safetensors" for case in CASES} | checkpoints
    assert PACKED.stat().st_size < 5e6


def test_packed_numbers_are_the_same(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    shared = torch.randn(3, 4)
    tensors = {"state/a": shared, "out/b": torch.randn(2).double(), "in/step": torch.tensor(7), "out/a": shared.clone()}
    save_file(tensors, tmp_path / "from" / "encoder.safetensors", {"config": json.dumps({"ch": 8})})
    torch.save({"state_dict": {"a": shared}, "epoch": 3}, tmp_path / "from" / "reference_stage1.ckpt")
    pack(tmp_path / "from", tmp_path / "packed.npz")
    unpack(tmp_path / "packed.npz", tmp_path / "to")
    case = read_case(tmp_path / "to" / "encoder.safetensors")
    assert case.config == {"ch": 8}
    assert case.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert case[name].dtype == tensor.dtype
        assert torch.equal(case[name], tensor)
    checkpoint = torch.load(tmp_path / "to" / "reference_stage1.ckpt", weights_only=True)
    assert checkpoint["epoch"] == 3
    assert torch.equal(checkpoint["state_dict"]["a"], shared)
