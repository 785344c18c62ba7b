from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import torch
from safetensors.torch import load_file

from quantart.models.shipped import SHIPPED, Part, model_folder, shipped, shipped_checksums
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params.file import load_params


def test_the_name_opens_the_base_or_the_whole_model_by_its_class() -> None:
    base, painter = ExperimentStage1.from_pretrained(SHIPPED), ExperimentStage2.from_pretrained(SHIPPED)
    stored = load_file(shipped("stage1_base") / "model.safetensors")
    assert torch.equal(base.quantize.embedding.weight, stored["quantize.embedding.weight"].float())
    assert painter.variant == "discrete"
    assert painter.encoder.conv_in.weight.dtype == torch.float32


def test_its_codebooks_are_those_of_stage_1() -> None:
    painter = ExperimentStage2.from_pretrained(SHIPPED)
    for domain, quantizer in {"content": painter.quantize_enc, "style": painter.quantize_dec}.items():
        vqgan = ExperimentStage1.from_pretrained(shipped(f"stage1_{domain}"))
        assert torch.equal(vqgan.quantize.embedding.weight, quantizer.embedding.weight)


def test_it_is_small_and_each_file_has_a_checksum() -> None:
    files = [file for part in get_args(Part) for file in shipped(part).iterdir()]
    assert sum(file.stat().st_size for file in files) < 8e6
    assert len(shipped_checksums()) == len(files) == 8


def test_the_default_pipeline_goes_on_from_it() -> None:
    params = load_params(Path(__file__).parents[2] / "params.yaml")
    assert params.stage1.init_from == params.stage2.init_from == SHIPPED
    config = ExperimentStage1.from_pretrained(SHIPPED).config
    shape = params.model.ddconfig(config["ddconfig"]["resolution"])
    assert (shape, params.model.n_embed, params.model.embed_dim) == (
        config["ddconfig"],
        config["n_embed"],
        config["embed_dim"],
    )


@pytest.mark.parametrize("named", ["models/mine", "quantart/open/"])
def test_other_names_are_folders_of_the_project(named: str, tmp_path: Path) -> None:
    assert model_folder(named, "stage1_base", tmp_path) == tmp_path / named
    assert model_folder(SHIPPED, "stage1_base", tmp_path) == shipped("stage1_base")
