from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from safetensors.torch import load_file, save_file

from quantart.errors import UserError
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

from .networks import small_stage_1

UNKNOWN = json.dumps({"model": "ExperimentStage1", "colour": 1, "ddconfig": {}, "n_embed": 1, "embed_dim": 1})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    small_stage_1().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_round_trip_keeps_weights_and_configuration(tmp_path: Path) -> None:
    model = ExperimentStage2.from_stage1(small_stage_1(1, legacy=False), small_stage_1(2, legacy=False), block_num=2)
    model.to(memory_format=torch.channels_last).save_pretrained(tmp_path)
    again = ExperimentStage2.from_pretrained(tmp_path)
    assert again.config == model.config
    assert not again.training
    assert not again.quantize_dec.legacy
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1  # whoever reads the one reads the other


def test_a_folder_saved_before_an_option_existed_gets_its_default(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    assert list(config)[:4] == ["model", "ddconfig", "n_embed", "embed_dim"]
    del config["rotation"], config["cosine"]
    (folder / "config.json").write_text(json.dumps(config))
    assert ExperimentStage1.from_pretrained(folder).config == small_stage_1().config


def test_the_hubs_mixin_opens_the_folder(folder: Path) -> None:
    class OnTheHub(PyTorchModelHubMixin, ExperimentStage1):
        pass

    opened = OnTheHub.from_pretrained(folder, local_files_only=True, strict=True)
    assert opened.config == small_stage_1().config
    assert torch.equal(opened.quantize.embedding.weight, small_stage_1().quantize.embedding.weight)


def change(path: Path, edit: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(path / "model.safetensors")
    edit(state)
    save_file(state, path / "model.safetensors")


def test_a_missing_codebook_is_named(folder: Path) -> None:
    change(folder, lambda state: state.pop("quantize.embedding.weight"))
    with pytest.raises(UserError, match=r"model\.safetensors.*missing: quantize\.embedding\.weight$"):
        ExperimentStage1.from_pretrained(folder)


def test_an_unexpected_key_is_named(folder: Path) -> None:
    change(folder, lambda state: state.update(more=torch.zeros(1)))
    with pytest.raises(UserError, match="unexpected: more$"):
        ExperimentStage1.from_pretrained(folder)


def test_another_shape_is_named(folder: Path) -> None:
    change(folder, lambda state: state.update({"quant_conv.bias": torch.zeros(5)}))
    with pytest.raises(UserError, match=r"of another shape: quant_conv\.bias \(5,\) for \(8,\)$"):
        ExperimentStage1.from_pretrained(folder)


def test_many_missing_keys_are_counted(folder: Path) -> None:
    change(folder, lambda state: [state.pop(name) for name in list(state) if name.startswith("encoder.")])
    with pytest.raises(UserError, match=r"missing: encoder\.conv_in\.bias.* and \d+ more"):
        ExperimentStage1.from_pretrained(folder)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        ExperimentStage1.from_pretrained(tmp_path / "nothing")
    assert refused.value.fault.startswith(f"{tmp_path / 'nothing'}: ")


def test_missing_or_truncated_weights_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read"):
        ExperimentStage1.from_pretrained(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read"):
        ExperimentStage1.from_pretrained(folder)


def test_another_network_is_refused(folder: Path) -> None:
    with pytest.raises(UserError) as refused:
        ExperimentStage2.from_pretrained(folder)
    assert str(folder / "config.json") in refused.value.fault
    assert '"model": "ExperimentStage2"' in refused.value.remedy


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "JSON"), ("[]", "JSON"), (json.dumps({"model": "ExperimentStage1"}), "ddconfig"), (UNKNOWN, "'colour'")],
)
def test_a_bad_configuration_is_refused(folder: Path, text: str, said: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(UserError, match=f"config.json.*{said}"):
        ExperimentStage1.from_pretrained(folder)


def test_hugging_faces_keywords_are_taken_or_named(folder: Path, tmp_path: Path) -> None:
    opened = ExperimentStage1.from_pretrained(
        tmp_path,
        subfolder="model",
        map_location=torch.device("meta"),
        revision="main",
        cache_dir="/nowhere",
        token=None,
        local_files_only=True,
        strict=True,
    )
    assert opened.config == small_stage_1().config
    assert opened.quantize.embedding.weight.is_meta
    for wrong in ({"strict": False}, {"torch_dtype": torch.float16}, {"device_map": "auto"}, {"n_embed": 32}):
        with pytest.raises(UserError) as error:
            ExperimentStage1.from_pretrained(folder, **wrong)
        assert next(iter(wrong)) in error.value.fault
        assert "revision" in (error.value.remedy or "")


def test_the_name_of_a_repository_is_no_folder(folder: Path) -> None:
    with pytest.raises(UserError) as error:
        ExperimentStage1.from_pretrained("owner/name", revision="v2")
    assert "owner/name" in error.value.fault
    assert "hf download" in (error.value.remedy or "")
