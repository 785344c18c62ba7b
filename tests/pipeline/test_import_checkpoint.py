"""Import into a folder and a run; what evaluation, registration and training then make of it."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from pathlib import Path
from typing import Any

import mlflow
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from mlflow import MlflowClient
from mlflow.entities import Run
from safetensors import SafetensorError

from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.codes import StoredCodes
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.decode import read_image
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline import encode, evaluate, export, pair, stage1, stage2
from quantart.pipeline.import_checkpoint import run
from quantart.project import Project
from quantart.stylize.choose import chosen_painter
from quantart.stylize.files import stylize_files
from quantart.stylize.plan import make_plan
from quantart.tracking.links import read_link
from quantart.vocabulary.names import DOMAINS

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]
MODEL: dict[str, Any] = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [16], "z_channels": 8}
MODEL |= {"embed_dim": 8, "n_embed": 16, "dropout": 0.0}
SHAPE = {"double_z": False, "resolution": 32, "in_channels": 3, "out_ch": 3}
SHAPE |= {key: MODEL[key] for key in ("ch", "ch_mult", "num_res_blocks", "attn_resolutions", "z_channels", "dropout")}
SHORT = {"steps": 2, "log_every": 1, "validate_every": 2, "checkpoint_every": 2, "batch_size": 2, "quantize_from": 0}


@pytest.fixture(autouse=True)
def notes(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "quantart")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project of small networks with its pictures prepared."""
    project = Project(tmp_path_factory.mktemp("project"))
    set_params(project)
    for domain in DOMAINS:
        prepare_domain(project.source(domain), project.prepared(domain), project.params().data, domain=domain)
    pair.run(project)
    return project


def set_params(project: Project, **changes: Any) -> None:
    """Write a params.yaml of small networks; `stage1__init_from=x` sets stage1.init_from."""
    params = from_scratch()
    params["data"] |= {"content": str(ROOT / "data/sample/photos"), "style": str(ROOT / "data/sample/paintings")}
    params["data"] |= {"resolution": 32, "short_side": 36}
    params["model"] = MODEL
    for part in ("base", "domain"):
        params["stage1"][part] |= {**SHORT, "crop": 32, "discriminator_start": 0}
    params["stage1"]["discriminator"] |= {"ndf": 4, "n_layers": 2}
    params["stage2"]["train"] |= {key: value for key, value in SHORT.items() if key != "quantize_from"} | {"crop": 16}
    params["stage2"] |= {"objective": "reference", "network": {"block_num": 1}}
    params["encode"]["copies"] = 1
    params["evaluate"]["pairs"] = 2
    for key, value in changes.items():
        section, name = key.split("__")
        params[section][name] = value
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))


@pytest.fixture
def project(pictures: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Another project beside it, with the same pictures and store."""
    AcceleratorState._reset_state(reset_partial_state=True)  # another test's may be of another precision
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{pictures.root}/mlflow.db")
    fresh = Project(tmp_path / "project")
    (fresh.root / "data").mkdir(parents=True)
    for made in ("prepared", "pairs"):
        (fresh.root / "data" / made).symlink_to(pictures.root / "data" / made)
    set_params(fresh)
    return fresh


def vqgan(seed: int) -> ExperimentStage1:
    torch.manual_seed(seed)
    model = ExperimentStage1(SHAPE, 16, 8)
    torch.nn.init.normal_(model.quantize.embedding.weight)
    return model


def stage_1_checkpoint(folder: Path, seed: int = 0, **options: Any) -> Path:
    judge = NLayerDiscriminator(3, **{"ndf": 4, "n_layers": 2, **options}).state_dict()
    judge["main.0.bias"].fill_(7.0)
    state = vqgan(seed).state_dict() | {f"loss.discriminator.{key}": value for key, value in judge.items()}
    path = folder / f"vqgan{seed}.ckpt"
    torch.save({"state_dict": state, "global_step": 1, "epoch": 0}, path)
    return path


def stage_2_checkpoint(folder: Path) -> Path:
    model = ExperimentStage2.from_stage1(vqgan(1), vqgan(2), block_num=1)
    torch.save({"state_dict": model.state_dict()}, folder / "landscape2art.ckpt")
    return folder / "landscape2art.ckpt"


def tracked(run_id: str) -> Run:
    return MlflowClient().get_run(run_id)


def test_outside_of_a_project_a_folder_is_written_and_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    checkpoint = stage_1_checkpoint(tmp_path)
    (tmp_path / "out").mkdir()  # an empty folder may be there
    assert run(None, checkpoint, tmp_path / "out", resolution=32) is None
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "config.json",
        "discriminator.safetensors",
        "model.safetensors",
    ]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "vqgan0.ckpt"]
    model = ExperimentStage1.from_pretrained(tmp_path / "out")
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in vqgan(0).state_dict().items())
    assert "no project here" in caplog.text
    said = caplog.messages[-1]
    assert yaml.safe_load(said[said.index("model:\n") :])["model"] == MODEL


def test_a_fault_leaves_no_folder_and_what_is_there_stays(project: Project, tmp_path: Path) -> None:
    checkpoint = stage_1_checkpoint(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="give --resolution"):
        run(project, checkpoint, tmp_path / "out")
    (tmp_path / "cut.ckpt").write_bytes(checkpoint.read_bytes()[:5000])
    with pytest.raises(UserError, match="truncated"):
        run(project, tmp_path / "cut.ckpt", tmp_path / "out")
    (tmp_path / "cut.ckpt").unlink()
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    for out in (tmp_path / "out", checkpoint):
        with pytest.raises(UserError, match="is there already; give a folder that is new or empty"):
            run(project, checkpoint, out, resolution=32)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_without_its_tracking_store_nothing_is_written(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'vqgan0.ckpt'}")
    with pytest.raises(UserError, match="the tracking store can't be used"):
        run(project, stage_1_checkpoint(tmp_path), tmp_path / "out", resolution=32)
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".*"))


def test_the_current_folder_is_filled_and_what_was_assumed_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = stage_2_checkpoint(tmp_path)
    (tmp_path / "here").mkdir()
    before = (tmp_path / "here").stat().st_ino
    monkeypatch.chdir(tmp_path / "here")
    run(None, checkpoint, Path("."), resolution=32)
    assert (tmp_path / "here").stat().st_ino == before
    assert "assumed, since the weights do not show it: residual True " in caplog.text
    assert sorted(file.name for file in Path.cwd().iterdir()) == ["config.json", "model.safetensors"]


@pytest.mark.parametrize("there", [False, True])
def test_a_store_that_keeps_nothing_is_not_blamed_on_the_folder_and_undoes_it(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    out = tmp_path / "new" / "deep" / "out"
    if there:
        out.mkdir(parents=True)
    runs: list[str] = []
    seen: list[bool] = []

    def full(_: MlflowClient, run_id: str, *__: Any) -> None:
        runs.append(run_id)
        assert tracked(runs[0]).info.status == "RUNNING"
        seen.append((out / "model.safetensors").is_file())
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_artifacts", full)
    checkpoint = stage_1_checkpoint(tmp_path)
    with pytest.raises(UserError, match="the tracking store can't be used: .*No space left"):
        run(project, checkpoint, out, resolution=32)
    assert seen == [True]
    assert tracked(runs[0]).info.status == "FAILED"
    assert (tmp_path / "new").exists() == there
    assert not there or list(out.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_named_and_makes_no_run(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise SafetensorError("No space left on device")

    checkpoint = stage_1_checkpoint(tmp_path)
    with pytest.raises(UserError, match="vqgan0.ckpt/out: cannot be written: .*; give another folder"):
        run(project, checkpoint, checkpoint / "out", resolution=32)
    with pytest.raises(UserError, match="cannot be written: File name too long"):
        run(project, checkpoint, tmp_path / "new" / ("x" * 250), resolution=32)
    monkeypatch.setattr("quantart.models.pretrained.save", full)
    with pytest.raises(UserError, match="out: cannot be written: No space left on device; give another folder"):
        run(project, checkpoint, tmp_path / "new" / "out", resolution=32)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["project", "vqgan0.ckpt"]


def test_the_commands_it_prints_work_in_a_folder_below_the_project(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (project.root / "sub").mkdir()
    monkeypatch.chdir(project.root / "sub")
    run(project, stage_2_checkpoint(tmp_path), Path("my net"), resolution=32)
    said = caplog.text
    assert "--model 'my net'\n" in said
    assert "inferred from its keys: variant discrete, block_num 1, use_conv True, use_selfatt True\n" in said
    run(project, stage_1_checkpoint(tmp_path), Path("vqgan"), resolution=32)
    assert "set stage1.init_from: sub/vqgan, data.resolution: 32, and\n" in caplog.text


def test_where_the_parameters_name_the_folder_already_it_says_which_stages_to_run_again(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said(**named: str) -> str:
        set_params(project, **named)
        out = project.root / "models" / f"wikiart{len(list((project.root).glob('models/*')))}"
        caplog.clear()
        run(project, checkpoint, out, resolution=32)
        return caplog.text

    checkpoint = stage_1_checkpoint(tmp_path)
    command = "dvc repro --single-item --force"
    assert "dvc repro" not in said()
    assert f"{command} stage1_base && dvc repro\n" in said(stage1__init_from="models/wikiart1")
    assert f"{command} stage1@style && dvc repro\n" in said(stage1__style_from=str(project.root / "models/wikiart2"))
    both = {"stage1__init_from": "models/wikiart3", "stage1__content_from": "models/wikiart3"}
    assert f"{command} stage1_base stage1@content && dvc repro\n" in said(**both)


def test_an_imported_stage_2_network_is_measured_registered_and_paints(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = stage_2_checkpoint(tmp_path)
    run_id = run(project, checkpoint, project.root / "models" / "imported", resolution=32)
    assert run_id is not None
    assert f"quantart evaluate --run-id {run_id}" in (said := caplog.text)
    assert f"--model {project.root / 'models' / 'imported'}\n" in said
    logged = tracked(run_id)
    assert (logged.info.run_name, logged.info.status) == (f"import_landscape2art@{run_id[:8]}", "FINISHED")
    assert logged.data.tags["stage"] == "stage2"
    assert logged.data.tags["imported.sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert logged.data.params["stage2.variant"] == "discrete"
    assert logged.data.params["stage2.network.block_num"] == "1"
    assert logged.data.params["stage2.model.ch_mult"] == "[1, 2]"
    assert logged.data.params["stage2.data.resolution"] == "32"

    measured = evaluate.run(project, run_id)
    assert measured["discrete"]["n"] == 2
    assert any(key.startswith("eval/gram") for key in tracked(run_id).data.metrics)
    registered = export.run(project, run_id)
    assert (registered.run_id, registered.alias) == (run_id, "challenger")
    assert not project.link("export").exists()  # the pipeline's
    version = MlflowClient().get_model_version_by_alias("quantart", "challenger")
    assert version.tags["variant"] == "discrete"
    assert f"- discrete network: run import_landscape2art@{run_id[:8]} ({run_id})" in version.description
    assert version.tags["imported.file"] == "landscape2art.ckpt"
    assert version.tags["imported.sha256"] == logged.data.tags["imported.sha256"]
    weights = (project.root / "models" / "imported" / "model.safetensors").read_bytes()
    assert version.tags["model.sha256"] == hashlib.sha256(weights).hexdigest()

    photo, painting = (min((ROOT / "data/sample" / kind).glob("*.jpg")) for kind in ("photos", "paintings"))
    chosen = chosen_painter(None, [str(project.root / "models" / "imported")], None)
    stylize_files(make_plan([str(photo)], [str(painting)], tmp_path / "out.png"), *chosen, size=64)
    assert max(read_image(tmp_path / "out.png", max_pixels=10**6).shape[:2]) == 64


def test_an_imported_vqgan_is_measured_on_both_domains_and_not_registered(project: Project, tmp_path: Path) -> None:
    run_id = run(project, stage_1_checkpoint(tmp_path), tmp_path / "out", resolution=32)
    assert run_id is not None
    (project.root / "data" / "pairs").unlink()  # only style transfer is measured on pairs
    assert evaluate.run(project, run_id)["reconstruction"].keys() == {"content", "style"}
    with pytest.raises(UserError, match=f"run {run_id[:8]} .*stage 1"):
        export.run(project, run_id)
    with pytest.raises(UserError, match="run 0123 is not in the tracking store"):
        export.run(project, "0123")


def test_init_from_takes_the_place_of_the_base_and_the_domains_go_on_from_it(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    imported = run(project, stage_1_checkpoint(tmp_path), project.root / "models" / "imagenet", resolution=32)
    assert imported is not None
    set_params(project, stage1__init_from="models/imagenet")
    stage1.run(project, "base")
    base = ExperimentStage1.from_pretrained(project.stage1_model("base"))
    assert all(torch.equal(value, base.state_dict()[key]) for key, value in vqgan(0).state_dict().items())
    assert not base.config["legacy"]  # the codebook loss is that of params.yaml
    logged = tracked(read_link(project.link("stage1_base")).run_id)
    assert logged.data.params["stage1.taken_from"] == "models/imagenet"
    assert logged.info.status == "FINISHED"
    weights = (project.root / "models" / "imagenet" / "model.safetensors").read_bytes()
    assert logged.data.tags["model.sha256"] == hashlib.sha256(weights).hexdigest()
    assert tracked(imported).data.tags["model.sha256"] == logged.data.tags["model.sha256"]
    assert mlflow.artifacts.download_artifacts(run_id=logged.info.run_id, artifact_path="model/config.json")

    stage1.run(project, "content")
    assert "the imported discriminator is trained further" in caplog.text
    tags = tracked(read_link(project.link("stage1_content")).run_id).data.tags
    assert tags["upstream.stage1_base"] == logged.info.run_id
    trained = ExperimentStage1.from_pretrained(project.stage1_model("content")).state_dict()
    key = "decoder.conv_out.weight"
    assert 0 < (trained[key] - base.state_dict()[key]).abs().max() < 0.05


def test_a_discriminator_of_another_shape_is_left_and_said(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(None, stage_1_checkpoint(tmp_path, ndf=8), project.root / "models" / "imagenet", resolution=32)
    set_params(project, stage1__init_from="models/imagenet")
    stage1.run(project, "base")
    stage1.run(project, "style")
    assert "stage1.discriminator" in caplog.text


def test_two_vqgans_take_the_place_of_all_of_stage_1(project: Project, tmp_path: Path) -> None:
    for seed, domain in enumerate(DOMAINS, start=1):
        run(None, stage_1_checkpoint(tmp_path, seed), tmp_path / domain, resolution=32)
    content, style = str(tmp_path / "content"), str(tmp_path / "style")
    set_params(project, stage1__init_from=content, stage1__content_from=content, stage1__style_from=style)
    stage1.run(project, "base")
    for domain in DOMAINS:
        stage1.run(project, domain)
        encode.run(project, domain)
        assert len(StoredCodes(project.codes(domain)))
    for seed, stage in {1: "stage1_base", 2: "stage1_style"}.items():
        taken = ExperimentStage1.from_pretrained(project.root / "models" / stage).state_dict()
        assert torch.equal(taken["quantize.embedding.weight"], vqgan(seed).quantize.embedding.weight)
        logged = tracked(read_link(project.link(stage)).run_id).data
        assert not [key for key in logged.params if key.endswith(".steps")]
        assert not [key for key in logged.tags if key.startswith("upstream.")]
    stage2.run(project, "discrete")
    tags = tracked(read_link(project.link("stage2_discrete")).run_id).data.tags
    assert tags["upstream.stage1_style"] == read_link(project.link("stage1_style")).run_id
    painter = ExperimentStage2.from_pretrained(project.stage2_model("discrete"))
    assert torch.equal(painter.quantize_dec.embedding.weight, vqgan(2).quantize.embedding.weight)


def test_a_folder_that_does_not_fit_stops_the_first_stage(project: Project, tmp_path: Path) -> None:
    def fault() -> str:
        with pytest.raises(UserError) as error:
            stage1.run(project, "base")
        assert not project.stage1_model("base").exists()
        return error.value.fault

    set_params(project, stage1__style_from="models/none")
    assert re.fullmatch(r"stage1.style_from: .*models/none: .*", fault())
    run(None, stage_2_checkpoint(tmp_path), tmp_path / "second", resolution=32)
    set_params(project, stage1__init_from=str(tmp_path / "second"))
    assert re.fullmatch(r"stage1.init_from: .*second/config.json: .* ExperimentStage1", fault())
    run(None, stage_1_checkpoint(tmp_path), tmp_path / "vqgan", resolution=64)
    other = {**MODEL, "n_embed": 32, "attn_resolutions": []}
    set_params(project, stage1__content_from=str(tmp_path / "vqgan"))
    config = yaml.safe_load((project.root / "params.yaml").read_text()) | {"model": other}
    (project.root / "params.yaml").write_text(yaml.safe_dump(config))
    assert fault().startswith("stage1.content_from: ")
    assert "levels with attention ([1], params.yaml says [])" in fault()
    assert "n_embed (16, params.yaml says 32)" in fault()
    config["stage1"]["quantizer"]["cosine"] = True
    (project.root / "params.yaml").write_text(yaml.safe_dump(config))
    assert "cosine (False, params.yaml says True)" in fault()


@pytest.mark.parametrize("key", ["stage1__init_from", "stage1__content_from"])
def test_a_folder_that_the_pipeline_writes_is_not_taken_over(project: Project, key: str) -> None:
    vqgan(0).save_pretrained(project.stage1_model("content"))
    set_params(project, **{key: "models/stage1_content"})
    with pytest.raises(UserError, match=f"^{key.replace('__', '.')} models/stage1_content: "):
        stage1.run(project, "base")
    assert ExperimentStage1.from_pretrained(project.stage1_model("content"))


def test_a_vqgan_imported_at_another_resolution_fits_where_its_attention_is_at_the_same_levels(
    project: Project, tmp_path: Path
) -> None:
    run(None, stage_1_checkpoint(tmp_path), tmp_path / "vqgan", resolution=64)
    assert json.loads((tmp_path / "vqgan" / "config.json").read_text())["ddconfig"]["attn_resolutions"] == [32]
    set_params(project, stage1__init_from=str(tmp_path / "vqgan"))
    stage1.run(project, "base")
    assert ExperimentStage1.from_pretrained(project.stage1_model("base")).config["ddconfig"] == SHAPE


def gumbel_checkpoint(folder: Path, seed: int) -> Path:
    """A VQGAN with the codebook of Taming's GumbelVQ, inside a transformer's checkpoint."""
    state = vqgan(seed).state_dict()
    state["quantize.embed.weight"] = state.pop("quantize.embedding.weight")
    state["quantize.proj.weight"], state["quantize.proj.bias"] = torch.randn(16, 8, 1, 1), torch.zeros(16)
    beside = {"transformer.tok_emb.weight": torch.zeros(2)}
    path = folder / f"gumbel{seed}.ckpt"
    torch.save({"state_dict": {f"first_stage_model.{key}": value for key, value in state.items()} | beside}, path)
    return path


def test_gumbel_vqgans_take_the_place_of_stage_1_but_none_is_trained_from_one(
    project: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for seed, domain in enumerate(DOMAINS):
        run_id = run(project, gumbel_checkpoint(tmp_path, seed), tmp_path / domain, resolution=32)
        assert run_id is not None
        assert tracked(run_id).data.tags["imported.prefix"] == "first_stage_model."
    assert "found under the prefix first_stage_model." in caplog.text
    assert "Gumbel" in caplog.text
    content, style = str(tmp_path / "content"), str(tmp_path / "style")

    def given(**named: str) -> None:
        set_params(project, **named)
        config = yaml.safe_load((project.root / "params.yaml").read_text())
        (project.root / "params.yaml").write_text(yaml.safe_dump(config | {"model": {**MODEL, "embed_dim": 32}}))

    given(stage1__init_from=content, stage1__style_from=style)
    with pytest.raises(UserError) as error:
        stage1.run(project, "base")
    assert error.value.fault.startswith(f"stage1.init_from {content}: ")
    assert "stage1.content_from" in (error.value.remedy or "")
    given(stage1__init_from=content, stage1__content_from=content, stage1__style_from=style)
    for domain in DOMAINS:
        stage1.run(project, domain)
        encode.run(project, domain)
    stage2.run(project, "discrete")
    assert ExperimentStage2.from_pretrained(project.stage2_model("discrete")).config["embed_dim"] == 32
