"""Every parameter that a stage reads is among those that decide its checkpoints and that DVC watches."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import yaml
from accelerate.state import AcceleratorState

from quantart.pipeline import encode, evaluate, pair, prepare, stage1, stage2
from quantart.pipeline.stages import find_stage
from quantart.project import Project

from ..params.recording import recording

MODEL = {
    "architecture": "lean",
    "patch": 2,
    "ch": 8,
    "ch_mult": [1],
    "num_res_blocks": 1,
    "z_channels": 8,
    "embed_dim": 8,
}
SHORT = {"optimizer": "muon", "steps": 2, "log_every": 1, "validate_every": 2, "checkpoint_every": 2, "batch_size": 2}
STAGES: dict[str, Callable[[Project], object]] = {
    "prepare_content": partial(prepare.run, domain="content"),
    "prepare_style": partial(prepare.run, domain="style"),
    "pair": pair.run,
    "stage1_base": partial(stage1.run, domain="base"),
    "stage1_content": partial(stage1.run, domain="content"),
    "stage1_style": partial(stage1.run, domain="style"),
    "encode_content": partial(encode.run, domain="content"),
    "encode_style": partial(encode.run, domain="style"),
    "stage2_discrete": partial(stage2.run, variant="discrete"),
    "evaluate": evaluate.run,
}
# what is only noted (where pictures came from) or checked early (networks that later stages would take over)
UNDECIDING = {
    *("data.content", "data.style", "data.content_table", "data.style_table"),
    *("stage1.init_from", "stage1.content_from", "stage1.style_from"),
}


@pytest.fixture(scope="module")
def project(small_project: Project) -> Project:
    """Small networks and short trainings, with the losses and the codebook that read the most parameters."""
    path = small_project.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    params["model"] |= MODEL | {"n_embed": 16}
    for part in ("base", "domain"):
        params["stage1"][part] |= SHORT | {"quantize_from": 0, "discriminator_start": 0, "decoder_from": 1}
    params["stage1"]["quantizer"]["update"] = "ema"
    params["stage1"]["loss"]["texture_weight"] = 0.1
    params["stage2"]["train"] |= SHORT | {"crop": 32}
    params["stage2"]["objective"] = "painting"
    params["data"] |= {"resolution": 64, "short_side": 72}
    params["stage2"]["discriminator"] = {"ndf": 4, "weight": 0.1}
    params["stage2"]["painting"] |= {"width": 8, "quantize_from": 0}
    params["evaluate"]["pairs"] = 4
    path.write_text(yaml.safe_dump(params))
    return small_project


def test_no_stage_reads_a_parameter_that_it_does_not_declare(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)  # another test's may be of another precision
    undeclared = undeclared_reads(project, list(STAGES), monkeypatch)
    path = project.root / "params.yaml"
    params = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(params | {"stage2": params["stage2"] | {"objective": "reference"}}))
    again = ["encode_content", "encode_style", "stage2_discrete"]
    assert undeclared | undeclared_reads(project, again, monkeypatch) == {}


def undeclared_reads(project: Project, names: list[str], monkeypatch: pytest.MonkeyPatch) -> dict[str, set[str]]:
    """What each of these stages reads without declaring it."""
    undeclared = {}
    for name in names:
        view, read = recording(project.params())
        with monkeypatch.context() as patch:
            patch.setattr(Project, "params", lambda _, view=view: view)
            STAGES[name](project)
        stage, item = find_stage(name)
        declared = stage.keys(item)
        assert read, name
        undeclared[name] = {
            key for key in read - UNDECIDING if not any(f"{key}.".startswith(f"{own}.") for own in declared)
        }
    return {name: keys for name, keys in undeclared.items() if keys}
