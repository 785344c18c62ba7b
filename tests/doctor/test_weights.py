"""The weights behind the perceptual distances: tampered with, missing, not downloaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from quantart.doctor import State
from quantart.doctor.machine import check_weights
from quantart.losses import weights


def test_those_that_are_shipped_are_as_they_should_be(project: Path) -> None:
    for root in (None, project):
        row = check_weights(root)
        assert row.state is State.ok
        assert row.found.startswith("squeezenet1_1, efficientnet_lite0: ")


def test_a_file_that_was_tampered_with_or_is_missing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = tmp_path / "squeezenet1_1.safetensors"
    changed.write_bytes(b"cut short")
    monkeypatch.setattr(weights, "IMAGENET", tmp_path)
    row = check_weights(None)
    assert row.state is State.fails
    assert str(changed) in row.found
    assert str(tmp_path / "efficientnet_lite0.safetensors") in row.found  # missing


def test_what_torchvision_keeps_is_compared_with_its_checksum(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    set_painting(project, "painting", "vgg16")
    row = check_weights(project)
    assert (row.state, row.found.startswith("1 of 3 ")) == (State.warning, True)
    cached = tmp_path / "hub" / "checkpoints" / "vgg16-397923af.pth"
    assert str(cached) in row.remedy
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"cut short")
    row = check_weights(project)
    assert (row.state, row.remedy) == (State.fails, f"`rm {cached}`")


def test_what_stage_2_would_look_through_is_not_asked_for_where_it_looks_at_no_pictures(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    for objective, state in (("painting", State.warning), ("reference", State.ok)):
        set_painting(project, objective, "vgg16")
        assert check_weights(project).state is state


def set_painting(project: Path, objective: str, network: str) -> None:
    path = project / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["stage2"] |= {"objective": objective, "painting": {"perceptual_network": network, "quantize_from": 0}}
    path.write_text(yaml.safe_dump(params))
