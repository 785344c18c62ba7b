import base64
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient

from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.arrays import encode_png
from quantart.images.decode import decode_image
from quantart.imports import checksums
from quantart.models.fidelity import FidelityControl
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.export import run
from quantart.project import Project
from quantart.serving.package import MODULES
from quantart.stylize.networks import named_networks
from quantart.stylize.stylizer import Stylizer
from quantart.tracking.lineage import DataUsed
from quantart.tracking.links import RunLink, read_link, write_link
from quantart.tracking.runs import stage_run
from quantart.tracking.writer import TrackedRun
from quantart.vocabulary.names import DOMAINS, Variant

from ..defaults import from_scratch
from ..models.networks import PAINTER

ROOT = Path(__file__).parents[2]


def network_of(variant: Variant, embed_dim: int = 8) -> ExperimentStage2:
    torch.manual_seed(0)
    vqgans = [ExperimentStage1(PAINTER, n_embed=16, embed_dim=embed_dim) for _ in DOMAINS]
    return ExperimentStage2.from_stage1(*vqgans, block_num=1, variant=variant).eval()


@pytest.fixture(scope="module")
def network() -> ExperimentStage2:
    return network_of("discrete")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, network: ExperimentStage2) -> Iterator[Project]:
    """Prepared pictures and a tracked stage-2 run with its network: what `export` stands on."""
    project = Project(tmp_path_factory.mktemp("project"))
    params = from_scratch()
    params["data"] |= {"content": str(ROOT / "data/sample/photos"), "style": str(ROOT / "data/sample/paintings")}
    params["export"] = {"variant": "discrete", "name": "painter"}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    for domain in DOMAINS:
        prepare_domain(project.source(domain), project.prepared(domain), project.params().data, domain=domain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
        train(project, network)
        yield project


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def train(project: Project, network: ExperimentStage2, params: dict[str, Any] | None = None) -> str:
    """A finished run of a network, and the link to it; its id."""
    stage = f"stage2_{network.variant}"
    network.save_pretrained(project.stage2_model(network.variant))
    upstream = {"stage1_content": "c0", "stage1_style": "50"}
    folders = {domain: project.params().data.folder(domain) for domain in DOMAINS}
    used = [DataUsed(name, sha256(folder), folder, "training", 5) for name, folder in folders.items()]
    options: dict[str, Any] = {"params": params or {}, "upstream": upstream, "datasets": used}
    with stage_run(project.root, family="stage2", name=stage, **options) as trained:
        trained.artifact(project.stage2_model(network.variant), "model")
    write_link(project.link(stage), RunLink(stage=stage, run_id=trained.run_id, experiment="quantart"))
    return trained.run_id


def test_a_trained_run_becomes_the_challenger(project: Project, network: ExperimentStage2) -> None:
    run_id = json.loads(project.link("stage2_discrete").read_text())["run_id"]
    measured = {
        "eval/n": 48,
        "eval/gram_squeezenet1_1": 0.25,
        "eval_interval/gram_squeezenet1_1_low": 0.2,
        "eval_interval/gram_squeezenet1_1_high": 0.31,
        "eval_baselines/gram_squeezenet1_1.adain": 0.5,
        "eval/a0.50_b1.00/gram_squeezenet1_1": 0.75,
    }
    TrackedRun(run_id).metrics(measured, 0)
    run(project)
    written = json.loads(project.link("export").read_text())
    assert written == {"name": "painter", "version": "1", "alias": "challenger", "run_id": run_id}

    version = MlflowClient().get_model_version_by_alias("painter", "challenger")
    check_card(version.description, run_id)
    assert version.tags["eval/gram_squeezenet1_1"] == "0.25"
    assert version.tags["upstream.stage1_style"] == "50"
    assert [key for key in version.tags if key.startswith("eval/")] == ["eval/gram_squeezenet1_1"]

    model = mlflow.pyfunc.load_model("models:/painter@challenger")
    held_out = [PackedPictures(project.prepared(domain), "test").picture(0) for domain in DOMAINS]
    for column, picture in zip(DOMAINS, held_out, strict=True):
        stored = decode_image(base64.b64decode(model.input_example[column][0]), max_pixels=10**8)
        assert np.array_equal(stored, picture)
    row = dict(zip(DOMAINS, map(encode_png, held_out), strict=True))
    image = base64.b64decode(model.predict(pd.DataFrame([row], dtype=object))["image"][0])
    assert np.array_equal(decode_image(image, max_pixels=10**8), Stylizer(network).stylize(*held_out))


def test_the_alias_moves_last(project: Project) -> None:
    link = project.link("export")
    before = run(project).version
    link.rename(link.with_suffix(".kept"))
    link.mkdir()
    with pytest.raises(UserError, match=f"^{link}: "):
        run(project)
    assert str(MlflowClient().get_model_version_by_alias("painter", "challenger").version) == before
    MlflowClient().delete_model_version("painter", str(int(before) + 1))
    link.rmdir()
    link.with_suffix(".kept").rename(link)


def check_card(card: str, run_id: str) -> None:
    """The model card of the version, on embedded pictures."""
    lines = card.splitlines()
    assert any(line.startswith("The discrete network on 48 held-out pairs; smaller is better.") for line in lines)
    assert [line for line in lines if "gram" in line] == ["| gram_squeezenet1_1 | 0.25 | 0.2 to 0.31 |"]
    assert f"- discrete network: run stage2_discrete@{run_id[:8]} ({run_id})" in lines
    assert "- upstream.stage1_style: 50" in lines
    (paintings,) = (line for line in lines if line.startswith("| training | style | 5 |"))
    digest = sha256(str(ROOT / "data/sample/paintings"))[:12]
    assert paintings.endswith(f"| {digest} | CC0-1.0 (The Met Open Access) (75) |")
    assert "squares of 32 pixels" in card
    assert len(card) < 5000  # what other registries take


def test_the_card_lies_in_the_model_too(project: Project) -> None:
    version = MlflowClient().get_model_version("painter", run(project).version)
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/painter/{version.version}"))
    assert (folder / "artifacts" / "README.md").read_text(encoding="utf8") == version.description


def test_pictures_of_ones_own_have_no_known_licence(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path)
    params = yaml.safe_load((other.root / "params.yaml").read_text())
    mine = Path(shutil.copytree(ROOT / "data/sample/photos", tmp_path / "mine"))
    params["data"]["content"] = str(mine)
    (other.root / "params.yaml").write_text(yaml.safe_dump(params))
    train(other, network_of("discrete"))
    version = MlflowClient().get_model_version("painter", run(other).version)
    row = f"| training | content | 5 | `{mine}` | {sha256(str(mine))[:12]} | not known to this platform |"
    assert row in version.description.splitlines()


def test_exporting_again_makes_the_next_version_the_challenger(project: Project) -> None:
    before = int(run(project).version)
    cached = project.root / "cached"
    cached.hardlink_to(project.link("export"))  # as DVC's cache may have it
    assert run(project).version == str(before + 1)
    assert [json.loads(file.read_text())["version"] for file in (cached, project.link("export"))] == [
        str(before),
        str(before + 1),
    ]
    version = MlflowClient().get_model_version_by_alias("painter", "challenger")
    assert int(version.version) == before + 1


def test_one_variant_alone_is_packaged_alone(project: Project) -> None:
    registered = run(project)
    version = MlflowClient().get_model_version("painter", registered.version)
    assert "alpha (visual fidelity) is always 1" in version.description
    assert "run.continuous" not in version.tags
    package = Path(mlflow.artifacts.download_artifacts(registered.uri))
    assert [file.parent.name for file in package.rglob("model.safetensors")] == ["discrete"]


def test_both_variants_are_one_model_with_the_lineage_of_both(project: Project, tmp_path: Path) -> None:
    both = copy_of(project, tmp_path)
    continuous = network_of("continuous")
    torch.nn.init.normal_(continuous.model_x2y.blocks[0].res_block.conv2.weight)  # type: ignore[union-attr, arg-type]
    continuous_run = train(both, continuous)
    discrete_run = read_link(both.link("stage2_discrete")).run_id
    registered = run(both)
    assert registered.run_id == discrete_run
    version = MlflowClient().get_model_version("painter", registered.version)
    assert (version.tags["run.discrete"], version.tags["run.continuous"]) == (discrete_run, continuous_run)
    assert version.tags["continuous.upstream.stage1_style"] == "50"
    assert "By default alpha (visual fidelity) is 1: discrete." in version.description
    assert continuous_run in version.description

    photo, painting = (PackedPictures(both.prepared(domain), "test").picture(0) for domain in DOMAINS)
    frame = pd.DataFrame([{"content": encode_png(photo), "style": encode_png(painting)}], dtype=object)
    control = FidelityControl(network_of("discrete"), continuous)
    model = mlflow.pyfunc.load_model(registered.uri)
    for params in ({}, {"alpha": 0.0}, {"alpha": 0.5, "beta": 0.5}):
        image = base64.b64decode(model.predict(frame, params=params)["image"][0])
        expected = Stylizer(control).stylize(photo, painting, **params)
        assert np.array_equal(decode_image(image, max_pixels=10**8), expected)


def test_a_named_run_brings_its_sibling_and_its_own_default(project: Project, tmp_path: Path) -> None:
    other = copy_of(project, tmp_path)
    settings = {"variant": "continuous", "steps": 3}
    named, sibling = (train(other, network_of(v), {**settings, "variant": v}) for v in ("continuous", "discrete"))
    registered = run(other, named)
    assert registered.run_id == named
    assert not other.link("export").exists()
    version = MlflowClient().get_model_version("painter", registered.version)
    assert (version.tags["run.continuous"], version.tags["run.discrete"]) == (named, sibling)
    schema = mlflow.pyfunc.load_model(registered.uri).metadata.get_params_schema()
    assert {param.name: param.default for param in schema} == {"alpha": 0.0, "beta": 1.0, "size": None, "refine": 0}


def test_the_exported_variant_is_the_default(project: Project, tmp_path: Path) -> None:
    both = copy_of(project, tmp_path, variant="continuous")
    continuous_run = train(both, network_of("continuous"))
    registered = run(both)
    assert registered.run_id == continuous_run
    assert named_networks([registered.uri], None)[1].alpha == 0.0
    schema = mlflow.pyfunc.load_model(registered.uri).metadata.get_params_schema()
    assert {param.name: param.default for param in schema} == {"alpha": 0.0, "beta": 1.0, "size": None, "refine": 0}


def test_variants_of_other_shapes_are_a_sentence_and_nothing_is_registered(project: Project, tmp_path: Path) -> None:
    stale = copy_of(project, tmp_path)
    train(stale, network_of("continuous", embed_dim=4))
    before = len(MlflowClient().search_model_versions("name = 'painter'"))
    with pytest.raises(UserError, match=r"differ in embed_dim \(8 and 4\)"):
        run(stale)
    assert len(MlflowClient().search_model_versions("name = 'painter'")) == before
    assert not stale.link("export").exists()


def copy_of(project: Project, place: Path, variant: Variant = "discrete") -> Project:
    """A project with the discrete run, prepared pictures and an export section of its own; not exported yet."""
    copy = Project(place / "copy")
    shutil.copytree(project.root / "data", copy.root / "data")
    shutil.copytree(project.stage2_model("discrete"), copy.stage2_model("discrete"))
    params = yaml.safe_load((project.root / "params.yaml").read_text())
    params["export"]["variant"] = variant
    (copy.root / "params.yaml").write_text(yaml.safe_dump(params))
    write_link(copy.link("stage2_discrete"), read_link(project.link("stage2_discrete")))
    return copy


def test_a_stage_that_has_not_run_is_said(project: Project, tmp_path: Path) -> None:
    shutil.copy(project.root / "params.yaml", tmp_path)
    with pytest.raises(UserError, match=r"models/stage2_discrete: .*dvc repro"):
        run(Project(tmp_path))


def test_a_run_whose_network_is_gone_is_said(project: Project, tmp_path: Path) -> None:
    shutil.copy(project.root / "params.yaml", tmp_path)
    shutil.copytree(project.root / "data", tmp_path / "data")
    with stage_run(project.root, family="stage2", name="stage2_discrete", params={}) as empty:
        pass
    lost = Project(tmp_path)
    with pytest.raises(UserError, match=f"run {empty.run_id[:8]}"):
        run(lost, empty.run_id)
    assert not lost.link("export").exists()


def test_a_variant_that_would_lead_out_of_the_folder_is_refused(project: Project, tmp_path: Path) -> None:
    network_of("discrete").save_pretrained(tmp_path / "network")
    config = tmp_path / "network" / "config.json"
    outside = tmp_path / "outside"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"variant": str(outside)}))
    with stage_run(project.root, family="stage2", name="evil", params={}) as evil:
        evil.artifact(tmp_path / "network", "model")
    with pytest.raises(UserError, match="discrete"):
        run(project, evil.run_id)
    assert not outside.exists()


def test_in_another_store_a_run_is_made_for_the_network_in_the_folder(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clone = copy_of(project, tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{clone.root}/mlflow.db")
    registered = run(clone)
    assert registered.version == "1"
    assert registered.run_id != read_link(clone.link("stage2_discrete")).run_id
    assert "quantart evaluate" in caplog.text
    package = Path(mlflow.artifacts.download_artifacts(registered.uri))
    assert [file.parent.name for file in package.rglob("model.safetensors")] == ["discrete"]
    (code_folder,) = package.rglob("quantart")
    code = {str(file.relative_to(code_folder)) for file in code_folder.rglob("*") if file.is_file()}
    code |= set(ZipFile(code_folder / MODULES).namelist())
    assert code == {MODULES, *checksums("quantart.serving.model")}
