"""Checkpoints as the reference's trainer, Taming Transformers and an attacker would write them."""

from __future__ import annotations

import builtins
import io
import os
import pickle
import re
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from quantart.components.discriminator import NLayerDiscriminator
from quantart.errors import UserError
from quantart.models.reference import from_state_dict, open_reference
from quantart.models.reference_config import Settings, read_config
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2

from .networks import DDCONFIG, small_stage_1

F16 = {
    "double_z": False,
    "z_channels": 256,
    "resolution": 256,
    "in_channels": 3,
    "out_ch": 3,
    "ch": 128,
    "ch_mult": [1, 1, 2, 2, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [16],
    "dropout": 0.0,
}


def stage_1_state(seed: int = 0, **options: Any) -> dict[str, Tensor]:
    state = dict(small_stage_1(seed).state_dict())
    judge = NLayerDiscriminator(3, 4, **{"n_layers": 2, **options}).state_dict()
    return state | {f"loss.discriminator.{key}": value for key, value in judge.items()}


def stage_2_state(**options: Any) -> dict[str, Tensor]:
    model = ExperimentStage2.from_stage1(small_stage_1(1), small_stage_1(2), **{"block_num": 2, **options})
    return dict(model.state_dict())


def written(path: Path, state: dict[str, Any], *, legacy: bool = False, **beside: Any) -> Path:
    checkpoint = {"epoch": 3, "global_step": 5, "state_dict": OrderedDict(state), **beside}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    return path


def said(path: Path, settings: Settings | None = None) -> str:
    with pytest.raises(UserError) as fault:
        open_reference(path, settings or Settings())
    assert str(fault.value).count("\n") == 0
    return str(fault.value)


def test_a_stage_1_checkpoint_opens_with_its_discriminator(tmp_path: Path) -> None:
    state = stage_1_state()
    lpips = {"loss.perceptual_loss.lin0.model.1.weight": torch.zeros(1), "loss.perceptual_loss.net.x": torch.zeros(2)}
    opened = open_reference(written(tmp_path / "a.ckpt", state | lpips), Settings())
    assert isinstance(opened.network, ExperimentStage1)
    assert opened.network.config == {**small_stage_1().config, "ddconfig": {**DDCONFIG, "resolution": 256}}
    assert opened.assumed == {"resolution": 256}
    assert opened.dropped == {"perceptual network": 2}
    assert not opened.network.training
    for key, value in opened.network.state_dict().items():
        assert torch.equal(value, state[key]), key
    assert opened.discriminator is not None
    assert torch.equal(opened.discriminator.main[0].weight, state["loss.discriminator.main.0.weight"])


@pytest.mark.parametrize("options", [{"n_layers": n, "use_actnorm": a} for n in (0, 1, 3, 5) for a in (False, True)])
def test_every_shape_of_discriminator_is_inferred(options: dict[str, Any]) -> None:
    opened = from_state_dict(stage_1_state(**options), Settings(), "a")
    assert opened.discriminator is not None
    assert opened.discriminator.state_dict().keys() == NLayerDiscriminator(3, 4, **options).state_dict().keys()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"variant": "continuous"},
        {"use_conv": False, "block_num": 1},
        {"use_selfatt": False, "block_num": 3},
    ],
)
def test_a_stage_2_checkpoint_opens_in_its_variant(options: dict[str, Any]) -> None:
    continuous = options.get("variant") == "continuous"
    opened = from_state_dict(
        stage_2_state(**options) | {"loss.discriminator.main.0.bias": torch.zeros(1)},
        Settings(continuous=continuous),
        "a",
    )
    assert isinstance(opened.network, ExperimentStage2)
    for key, value in {"block_num": 2, "use_conv": True, "use_selfatt": True, "variant": "discrete", **options}.items():
        assert opened.network.config[key] == value
    assert opened.discriminator is None
    assert opened.dropped == {"discriminator": 1}
    assert opened.assumed == {"resolution": 256, "residual": True}
    settings = Settings(residual=False, continuous=continuous)
    assert from_state_dict(stage_2_state(**options), settings, "a").network.config["residual"] is False


@pytest.mark.parametrize("codes", [1024, 16384])
def test_a_full_size_f16_network_is_inferred_without_its_gigabytes(codes: int) -> None:
    with torch.device("meta"):
        state = dict(ExperimentStage1(F16, codes, 256).state_dict())
        judge = NLayerDiscriminator().state_dict()
    state |= {f"loss.discriminator.{key}": value for key, value in judge.items()}
    opened = from_state_dict(state, Settings(resolution=256, legacy=False), "a")
    expected = {"ddconfig": F16, "n_embed": codes, "embed_dim": 256, "beta": 0.25, "legacy": False, "cosine": False}
    assert opened.network.config == {**opened.network.config, **expected}
    assert opened.assumed == {}


def test_attention_asks_for_the_resolution_by_name() -> None:
    state = dict(ExperimentStage1({**DDCONFIG, "attn_resolutions": [8]}, 16, 8).state_dict())
    with pytest.raises(UserError, match="attention at level 1, but not the resolution .* give --resolution"):
        from_state_dict(state, Settings(), "a")
    ddconfig = from_state_dict(state, Settings(resolution=64), "a").network.config["ddconfig"]
    assert (ddconfig["resolution"], ddconfig["attn_resolutions"]) == (64, [32])
    with pytest.raises(UserError, match="resolution 65 is not a multiple of 2"):
        from_state_dict(state, Settings(resolution=65), "a")


def config_file(
    path: Path, ddconfig: dict[str, Any], target: str = "taming.models.vqgan.VQModel", **params: Any
) -> Path:
    model = {"target": target, "params": {"embed_dim": 8, "n_embed": 16, "ddconfig": ddconfig, **params}}
    path.write_text(yaml.safe_dump({"model": {"base_learning_rate": 4.5e-6, **model}, "data": {}}, sort_keys=False))
    return path


def test_the_references_configuration_answers_what_the_tensors_do_not(tmp_path: Path) -> None:
    state = dict(ExperimentStage1({**DDCONFIG, "attn_resolutions": [8]}, 16, 8).state_dict())
    config = read_config(config_file(tmp_path / "c.yaml", {**DDCONFIG, "attn_resolutions": [8, 4], "dropout": 0.25}))
    opened = from_state_dict(state, Settings(config=config), "a")
    assert opened.network.config["ddconfig"] == {**DDCONFIG, "attn_resolutions": [8], "dropout": 0.25}
    path = config_file(tmp_path / "c.yaml", DDCONFIG, use_residual=False)
    assert from_state_dict(stage_2_state(), Settings(config=read_config(path)), "a").network.config["residual"] is False


def test_a_configuration_that_contradicts_the_tensors_is_refused(tmp_path: Path) -> None:
    def fault(state: dict[str, Tensor], resolution: int | None = None, **config: Any) -> str:
        settings = Settings(resolution, config=read_config(config_file(tmp_path / "c.yaml", **config)))
        with pytest.raises(UserError) as error:
            from_state_dict(state, settings, "a.ckpt")
        return str(error.value)

    ddconfig = {**DDCONFIG, "ch_mult": [1, 4], "attn_resolutions": [8]}
    wrong = "ch_mult [1, 4] for [1, 2], attn_resolutions [8] for []"
    assert fault(stage_1_state(), ddconfig=ddconfig) == f"a.ckpt: the configuration contradicts the tensors: {wrong}"
    assert "n_embed 99 for 16" in fault(stage_1_state(), ddconfig=DDCONFIG, n_embed=99)
    assert fault(stage_1_state(), 32, ddconfig=DDCONFIG).startswith("--resolution is 32, but the configuration says 16")
    target = "taming.models.vqgan_ref.VQModel_Ref"
    lost = fault(stage_2_state(variant="continuous"), ddconfig=DDCONFIG, target=target)
    assert "missing: quantize_enc.embedding.weight, quantize_dec.embedding.weight" in lost


@pytest.mark.parametrize(
    ("text", "word"), [("a: [", "model.params"), ("model: 3", "model.params"), ("", "model.params")]
)
def test_another_kind_of_configuration_is_refused(tmp_path: Path, text: str, word: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(UserError, match=f"c.yaml: not a configuration with {word}"):
        read_config(tmp_path / "c.yaml")
    with pytest.raises(UserError, match="no.yaml: cannot be read"):
        read_config(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{params: {ddconfig: []}}", "model.params.ddconfig is no mapping"),
        ("{params: [[ddconfig, {}]]}", "model.params is no mapping"),
        ("[" * 5000, "not a configuration with model.params.ddconfig"),
        ("{params: {ddconfig: {attn_resolutions: [[1]]}}}", r"attn_resolutions is \[\[1\]\] .* a list of sides"),
        ("{params: {ddconfig: {resolution: 2020-01-01}}}", "resolution is datetime"),
        ("{params: {ddconfig: {dropout: high}}}", "dropout is 'high' .* a number from 0 to 1"),
        ("{params: {ddconfig: {}, n_embed: many}}", "n_embed is 'many'"),
        ("{params: {ddconfig: {}, use_residual: 3}}", "use_residual is 3 .* true or false"),
    ],
)
def test_a_configuration_with_other_kinds_of_values_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "c.yaml").write_text(f"model: {text}")
    with pytest.raises(UserError, match=f"c.yaml: .*{words}") as fault:
        read_config(tmp_path / "c.yaml")
    assert "\n" not in str(fault.value)


Edit = Callable[[dict[str, Tensor]], object]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda s: s.pop("quantize.embedding.weight"), "missing: quantize.embedding.weight$"),
        (
            lambda s: s.update({"quantize.embed.weight": s.pop("quantize.embedding.weight")}),
            "a kind that can't be converted: quantize.embed.weight; known are quantize.embedding.weight .*Gumbel",
        ),
        (lambda s: s.update(colorize=torch.zeros(1)), "unexpected: colorize$"),
        (
            lambda s: s.update({"quant_conv.bias": torch.zeros(5)}),
            r"of another shape: quant_conv.bias \(5,\) for \(8,\)$",
        ),
        (
            lambda s: s.update({"quantize.embedding.weight": torch.zeros(16, 9)}),
            r"quantize.embedding.weight \(16, 9\) for \(16, 8\)$",
        ),
        (lambda s: s.pop("decoder.conv_in.weight"), "no VQGAN .*; missing: decoder.conv_in.weight$"),
        (lambda s: s.update({"encoder.conv_in.weight": torch.zeros(8)}), "not a convolution: encoder.conv_in.weight$"),
        (lambda s: s.update({"encoder.conv_out.weight": torch.zeros(12, 16, 3, 3)}), "mean and variance"),
        (lambda s: s.pop("loss.discriminator.main.3.bias"), r"loss.discriminator.\*: .* missing: main.3.bias$"),
        (
            lambda s: s.update({"encoder.conv_in.weight": torch.zeros(3, 3, 3, 3)}),
            "missing: encoder.* of another shape: .* more$",
        ),
        (
            lambda s: s.update({"encoder.conv_in.weight": torch.zeros(40, 3, 3, 3)}),
            "of another shape|no ExperimentStage1",
        ),
        (
            lambda s: s.update({"encoder.down.1.block.0.conv1.weight": torch.zeros(())}),
            "not a convolution: encoder.down.1.block.0.conv1.weight$",
        ),
        (lambda s: s.update({"quantize.embedding.weight": torch.zeros(0, 8)}), "describe no ExperimentStage1"),
        (
            lambda s: s.update({"quant_conv.weight": s["quant_conv.weight"].to(torch.int8)}),
            r"must be floating-point numbers; these are not: quant_conv.weight \(torch.int8\)$",
        ),
        (
            lambda s: s.update({"loss.discriminator.main.0.weight": torch.zeros(3)}),
            r"loss.discriminator.\* is no discriminator",
        ),
    ],
)
def test_faults_in_the_tensors_are_named(edit: Edit, words: str) -> None:
    state = stage_1_state()
    edit(state)
    with pytest.raises(UserError, match=words):
        from_state_dict(state, Settings(), "a.ckpt")


def test_a_stage_2_checkpoint_without_one_codebook_is_refused() -> None:
    for name in ("quantize_enc", "quantize_dec"):
        state = stage_2_state()
        del state[f"{name}.embedding.weight"]
        with pytest.raises(UserError, match=f"missing: {name}.embedding.weight"):
            from_state_dict(state, Settings(), "a.ckpt")


def test_a_stage_2_checkpoint_without_any_codebook_opens_only_where_somebody_says_it_has_none(tmp_path: Path) -> None:
    codebooks = "quantize_enc.embedding.weight, quantize_dec.embedding.weight"
    lost = {key: value for key, value in stage_2_state().items() if not key.startswith("quantize_")}

    def fault(state: dict[str, Tensor], settings: Settings) -> str:
        with pytest.raises(UserError) as error:
            from_state_dict(state, settings, "a.ckpt")
        return str(error.value)

    assert re.fullmatch(f"a.ckpt: missing: {codebooks}; .* --continuous", fault(lost, Settings()))
    assert fault(stage_2_state(), Settings(continuous=True)).endswith(
        f"--continuous was given; unexpected: {codebooks}"
    )
    assert "--continuous" in fault(stage_1_state(), Settings(continuous=True))
    target = "taming.models.vqgan_ref_continuous.VQModel_Ref"
    config = read_config(config_file(tmp_path / "c.yaml", DDCONFIG, target=target))
    opened = from_state_dict(lost, Settings(config=config), "a.ckpt")
    assert opened.network.config["variant"] == "continuous"


def test_a_stage_2_checkpoint_without_its_transfer_network_is_refused() -> None:
    for options in ({}, {"variant": "continuous"}):
        state = {key: value for key, value in stage_2_state(**options).items() if not key.startswith("model_x2y.")}
        with pytest.raises(UserError, match=r"missing: model_x2y\.blocks\.\*$"):
            from_state_dict(state, Settings(continuous=bool(options)), "a.ckpt")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_weights_of_a_run_that_diverged_are_refused(tmp_path: Path, value: float) -> None:
    for key in ("decoder.conv_out.bias", "loss.discriminator.main.0.bias"):
        state = stage_1_state()
        state[key] = state[key].clone().index_fill_(0, torch.tensor(1), value)
        assert said(written(tmp_path / "a.ckpt", state)).endswith(f"NaN or infinite values are in: {key}")


def test_counters_open_from_a_checkpoint_that_was_cast_as_a_whole(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in stage_1_state().items()}
    opened = open_reference(written(tmp_path / "a.ckpt", state), Settings())
    assert opened.discriminator is not None
    kinds = {key.rpartition(".")[2]: value.dtype for key, value in opened.discriminator.state_dict().items()}
    assert kinds["num_batches_tracked"] == torch.int64
    assert kinds["weight"] == torch.float32


class Attack:
    """Makes a marker file where it is unpickled carelessly."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("legacy", [False, True])
def test_a_malicious_checkpoint_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    marker = tmp_path / "run"
    source = f"open({str(marker)!r}, 'w')"
    for attack, name in {
        Attack(os.system, f"touch {marker}"): "posix.system",
        Attack(builtins.eval, source): "eval",
        Attack(builtins.exec, source): "exec",
        Attack(torch.hub.load, "owner/name", "model"): "torch.hub.load",
        Attack(np.testing.assert_equal, 1, 2): "numpy.testing",
    }.items():
        for place in ({"callbacks": attack}, {"state_dict": {"x": attack}}):
            path = written(tmp_path / "a.ckpt", stage_1_state(), legacy=legacy, **place)  # type: ignore[arg-type]
            assert re.search(f"refused, .* would run .*{re.escape(name)}", said(path))
            assert not marker.exists()
    pickle.loads(pickle.dumps(Attack(builtins.exec, source)))
    assert marker.exists()  # the attack is a real one


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_plain_pickle_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "a.ckpt").write_bytes(pickle.dumps(Attack(os.system, f"touch {tmp_path / 'run'}"), protocol))
    assert "would run posix.system" in said(tmp_path / "a.ckpt")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.98])
def test_a_truncated_file_is_refused(tmp_path: Path, legacy: bool, share: float) -> None:
    path = written(tmp_path / "a.ckpt", stage_1_state(), legacy=legacy)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert "not a whole checkpoint, it is truncated or of another kind" in said(path)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in said(tmp_path / "no.ckpt")
    assert "cannot be read: Is a directory" in said(tmp_path)
    path = tmp_path / "a.ckpt"
    path.write_text("some text\n" * 100)
    assert "not a whole checkpoint" in said(path)
    torch.save([torch.zeros(1)], path)
    assert "holds no state_dict" in said(path)
    torch.save({"state_dict": {"x": 3, "y": torch.zeros(1)}}, path)
    assert "its state_dict holds more than tensors: x" in said(path)
    torch.save({"state_dict": {0: torch.zeros(1)}}, path)
    assert "the keys of its state_dict must be names; these are not: 0" in said(path)
    for odd in (torch.eye(3).to_sparse(), torch.zeros(2, device="meta")):
        torch.save({"state_dict": stage_1_state() | {"quant_conv.weight": odd}}, path)
        assert "must be dense and in memory; these are not: state_dict.quant_conv.weight" in said(path)
    torch.jit.save(torch.jit.script(torch.nn.Linear(1, 1)), path)
    assert path.name in said(path)


def test_a_bare_state_dict_and_half_precision_open(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in small_stage_1().state_dict().items()}
    torch.save(state, tmp_path / "a.pt")
    network = open_reference(tmp_path / "a.pt", Settings()).network
    assert network.quantize.embedding.weight.dtype == torch.float32  # type: ignore[union-attr]
    assert torch.equal(network.quant_conv.weight, state["quant_conv.weight"].float())


@pytest.fixture
def lightning(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What Lightning 1.0.8 wrote beside the tensors; its classes only exist while the file is written."""

    def made(module: str, name: str, *bases: type) -> Any:
        parts = module.split(".")
        for i in range(1, len(parts) + 1):
            monkeypatch.setitem(sys.modules, ".".join(parts[:i]), types.ModuleType(".".join(parts[:i])))
        cls = type(name, bases, {"__module__": module, "__qualname__": name})
        setattr(sys.modules[module], name, cls)
        return cls

    attribute_dict = made("pytorch_lightning.utilities.parsing", "AttributeDict", dict)(lr=0.1)
    node = made("omegaconf.nodes", "AnyNode")()
    node.__dict__ |= {"_content": 3, "ref_type": dict}
    model_checkpoint = made("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint")
    score = {"monitor": "val/rec_loss", "best_model_score": np.float64(0.5), "current_score": torch.tensor(0.5)}
    optimizer = {"state": {0: {"step": 3, "exp_avg": torch.zeros(4)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {
        "callbacks": {model_checkpoint: {**score, "dirpath": "logs", "best": np.array([1.0])}},
        "optimizer_states": [optimizer],
        "lr_schedulers": [],
        "hyper_parameters": attribute_dict,
        "config": {"node": node, "groups": defaultdict(list, a=[1])},
        "pytorch-lightning_version": "1.0.8",
        "native_amp_scaling_state": None,
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_what_lightning_writes_beside_the_tensors_is_tolerated(
    tmp_path: Path, lightning: dict[str, Any], monkeypatch: pytest.MonkeyPatch, legacy: bool
) -> None:
    path = written(tmp_path / "a.ckpt", stage_1_state(), legacy=legacy, **lightning)
    monkeypatch.undo()
    assert "pytorch_lightning.callbacks.model_checkpoint" not in sys.modules
    with pytest.raises(pickle.UnpicklingError, match="Unsupported global"):
        torch.load(path, weights_only=True)
    opened = open_reference(path, Settings())
    assert torch.equal(opened.network.quant_conv.weight, small_stage_1().quant_conv.weight)
    assert not any("omegaconf" in str(known) for known in torch.serialization.get_safe_globals())


def test_an_instance_of_a_harmless_class_can_not_be_called(tmp_path: Path) -> None:
    # REDUCE with the stand-in of a known class as the function's argument list and as the function
    code = b"\x80\x02comegaconf.nodes\nAnyNode\n)R)R."
    buffer = io.BytesIO()
    for part in (
        pickle.dumps(0x1950A86A20F9469CFC6C, 2),
        pickle.dumps(1001, 2),
        pickle.dumps({"little_endian": True}, 2),
    ):
        buffer.write(part)
    buffer.write(code + pickle.dumps([], 2))
    (tmp_path / "a.ckpt").write_bytes(buffer.getvalue())
    assert "unrecognized function" in said(tmp_path / "a.ckpt")
