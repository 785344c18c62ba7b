"""Stage 2 in a project: which rows of codes it trains on, and which pairs it validates on."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from accelerate.state import AcceleratorState
from mlflow import MlflowClient
from PIL import Image

from quantart.components.twin_transfer import TwinTransferModule
from quantart.data.codes import StoredCodes
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.evaluation.stage2_validation import validate_transfers
from quantart.images.arrays import pixels_to_float
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import Params
from quantart.pipeline import encode, pair, prepare, stage2, stage2_task
from quantart.pipeline.stage2 import check_codes, training_partners
from quantart.pipeline.stage2_task import TransferData, make_code_batches, make_model, make_reference, make_task
from quantart.project import Project
from quantart.tracking.links import RunLink, read_link, write_link
from quantart.vocabulary.names import DOMAINS
from quantart.vocabulary.painting import PAINTING_WEIGHTS

from ..defaults import from_scratch

ROOT = Path(__file__).parents[2]
COPIES = 3


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Paired domains whose partners are the same picture, and one VQGAN for both: partners' codes are equal.

    Each domain has pictures that the other lacks, so that partners stand in different places.
    """
    project = Project(tmp_path_factory.mktemp("project"))
    params = from_scratch()
    params["data"] |= {"content": "photos", "style": "paintings", "paired": True, "val_share": 0.3, "test_share": 0.2}
    params["data"] |= {"resolution": 64, "short_side": 80}
    params["model"] |= {"ch": 8, "ch_mult": [1, 2], "z_channels": 8, "embed_dim": 8, "n_embed": 64}
    params["stage1"]["base"]["crop"] = params["stage1"]["domain"]["crop"] = 64
    params["encode"] = {"copies": COPIES, "batch_size": 8}
    params["stage2"]["train"] |= {"steps": 2, "batch_size": 4, "crop": 32, "log_every": 1, "checkpoint_every": 2}
    params["stage2"] |= {"objective": "reference", "network": {"block_num": 1}}
    params["stage2"]["painting"] |= {"width": 8, "coarse_blocks": 2, "fine_blocks": 1, "quantize_from": 1}
    params["evaluate"]["pairs"] = 2
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    for place, path in enumerate(sorted((ROOT / "data" / "sample" / "photos").glob("*.jpg"))[:26]):
        for folder, ending, missing in (("photos", "jpg", 5), ("paintings", "png", 3)):
            (project.root / folder).mkdir(exist_ok=True)
            if place % missing:
                Image.open(path).save(project.root / folder / f"{path.stem}.{ending}", quality=100, subsampling=0)
    for path in (project.root / "photos").iterdir():  # the very pixels that the partner has
        if (partner := project.root / "paintings" / f"{path.stem}.png").exists():
            shutil.move(shutil.copy(partner, path.with_suffix(".png")), path)
    torch.manual_seed(0)
    model = ExperimentStage1(project.params().model.ddconfig(64), 64, 8)
    torch.nn.init.normal_(model.quantize.embedding.weight, std=0.3)
    for domain in DOMAINS:
        prepare.run(project, domain, workers=1)
        model.save_pretrained(project.stage1_model(domain))
        encode.run(project, domain)
        write_link(project.link(f"stage1_{domain}"), RunLink(f"stage1_{domain}", f"run of {domain}", "quantart"))
    pair.run(project)
    return project


@pytest.fixture
def codes(project: Project) -> dict[Any, StoredCodes]:
    return {domain: StoredCodes(project.codes(domain)) for domain in DOMAINS}


def split(project: Project, name: Any) -> dict[Any, PackedPictures]:
    return {domain: PackedPictures(project.prepared(domain), name) for domain in DOMAINS}


@pytest.fixture
def data(project: Project, codes: dict[Any, StoredCodes]) -> TransferData:
    return TransferData(split(project, "train"), codes, None, split(project, "val"), [(0, 0)])


def vqgans(project: Project) -> dict[Any, Path]:
    return {domain: project.stage1_model(domain) for domain in DOMAINS}


def with_stage2(params: Params, **changes: Any) -> Params:
    """`train={"crop": 8}` changes stage2.train.crop."""
    values = params.model_dump()
    for name, value in changes.items():
        values["stage2"][name] = values["stage2"][name] | value if isinstance(value, dict) else value
    return Params.model_validate(values)


def process(index: int = 0, count: int = 1) -> Any:
    return SimpleNamespace(process_index=index, num_processes=count, device=torch.device("cpu"))


@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_a_paired_batch_holds_partners_in_the_same_copy_cut_at_the_same_place(project, data, variant) -> None:
    params, known = with_stage2(project.params(), train={"crop": 8}), training_partners(data.train)
    files = {domain: data.train[domain].files for domain in DOMAINS}
    assert [c for c, _ in known] != [s for _, s in known]
    assert all(Path(files["content"][c]).stem == Path(files["style"][s]).stem for c, s in known)
    batches = make_code_batches(params, variant, replace(data, partners=known), process())
    seen = []
    for step in range(3 * len(known)):
        content, style = batches(step)
        rows = zip(*batches.rows(step), strict=True)
        pictures = len(data.train["content"]), len(data.train["style"])
        assert all((c % pictures[0], s % pictures[1]) in known for c, s in rows)
        assert content.shape[-2:] == (8, 8)
        torch.testing.assert_close(content, style, rtol=0, atol=0.02)
        seen.append(content)
    assert len({part.numpy().tobytes() for batch in seen for part in batch}) > 2 * len(known)
    alone = make_code_batches(params, variant, data, process())
    assert not all(torch.equal(*alone(step)) for step in range(4))


def test_processes_share_the_joint_paired_batch(project, data) -> None:
    params, paired = project.params(), replace(data, partners=training_partners(data.train))
    joint, *parts = (
        make_code_batches(params, "discrete", paired, each)(5) for each in (process(), process(0, 2), process(1, 2))
    )
    for place in range(2):
        assert torch.equal(joint[place], torch.cat([part[place] for part in parts]))


def test_a_training_run_keeps_the_pairs_it_validated_on(project, monkeypatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    AcceleratorState._reset_state(reset_partial_state=True)  # another test's may be of another precision
    stage2.run(project, "discrete")
    run = MlflowClient().get_run(read_link(project.link("stage2_discrete")).run_id)
    stored = project.pairs("val").read_bytes()
    used = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="pairs/val.csv")
    assert Path(used).read_bytes() == stored
    assert run.data.tags["pairs.val"] == hashlib.sha256(stored).hexdigest()
    assert run.data.params["stage2.data.paired"] == "true"
    assert np.isfinite(run.data.metrics["val/latent_style"])


def test_the_objective_painting_trains_on_pictures_without_codes(project, tmp_path, monkeypatch) -> None:
    other = Project(shutil.copytree(project.root, tmp_path / "other", ignore=shutil.ignore_patterns("codes", "*.db")))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other.root}/mlflow.db")
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    params = with_stage2(project.params(), objective="painting")
    (other.root / "params.yaml").write_text(yaml.safe_dump(params.model_dump()))
    AcceleratorState._reset_state(reset_partial_state=True)
    stage2.run(other, "discrete")
    painter = ExperimentStage2.from_pretrained(other.stage2_model("discrete"))
    assert isinstance(painter.model_x2y, TwinTransferModule)
    assert painter.model_x2y.norm_out.batches == 2
    source = split(other, "train")["style"]
    with torch.no_grad():
        latents = painter.style_latents(pixels_to_float(source.centre(range(len(source)), 64)))
    torch.testing.assert_close(painter.model_x2y.mean, latents.mean((0, 2, 3), keepdim=True))
    run = MlflowClient().get_run(read_link(other.link("stage2_discrete")).run_id)
    assert {"train/texture_loss", "train/codebook_loss", "val/colour_loss"} <= run.data.metrics.keys()
    assert "val/latent_style" not in run.data.metrics


def test_a_trained_network_goes_on_with_its_own_statistics_of_latents(project, data, tmp_path) -> None:
    params = with_stage2(project.params(), objective="painting")
    model = make_model(params, "discrete", vqgans(project))
    with torch.no_grad():
        for tensor in model.model_x2y.state_dict().values():
            if tensor.is_floating_point():
                tensor.normal_()
    model.save_pretrained(tmp_path / "given")
    start, own = tmp_path / "given", model.model_x2y.state_dict()
    further = with_stage2(params, init_from=str(start))
    task = make_task(further, "continuous", vqgans=vqgans(project), start=start, data=data, accelerator=process())
    taken = task.objective.model.model_x2y.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in taken.items())
    wider = with_stage2(further, painting={"width": 32})
    with pytest.raises(UserError) as error:
        make_model(wider, "discrete", vqgans(project), start)
    assert error.value.fault == f"stage2.init_from {start}: its transfer network differs in width (8, here 32)"


def test_the_model_keeps_the_weights_of_its_losses(project) -> None:
    params = with_stage2(project.params(), objective="painting", painting={"texture_weight": 3.0})
    kept = make_model(params, "continuous", vqgans(project)).config["painting_weights"]
    assert kept["texture_weight"] == 3.0
    assert kept == params.stage2.painting.model_dump(include=set(PAINTING_WEIGHTS))


def test_validation_is_on_the_stored_pairs(project, data) -> None:
    model = make_model(project.params(), "discrete", vqgans(project)).eval()
    device = torch.device("cpu")
    values = []
    with torch.inference_mode():
        for pairs in ([(0, 0)], [(0, 1)], [(0, 0), (0, 1)]):
            metrics, images = validate_transfers(
                model, data.val["content"], data.val["style"], pairs, 64, device, loss=None
            )
            values.append(metrics["latent_style"])
    assert values[0] != values[1]
    assert values[2] == pytest.approx((values[0] + values[1]) / 2, rel=1e-4)
    assert images["transfers"].ndim == 3


@pytest.mark.parametrize(("done", "quantized"), [(1, False), (2, True)])
def test_validation_is_quantised_as_the_last_step_was(project, data, monkeypatch, done, quantized) -> None:
    params = with_stage2(project.params(), objective="painting")
    task = make_task(params, "discrete", vqgans=vqgans(project), data=data, accelerator=process())
    seen = []
    monkeypatch.setattr(stage2_task, "validate_transfers", lambda *args, **options: seen.append(options))
    task.validate(task.objective.model, done)
    assert [(each["loss"], each["quantize"]) for each in seen] == [(task.objective.loss, quantized)]


@pytest.mark.parametrize("changed", [{"paired": False}, {"copies": 1}, {"pictures": {"train": "other"}}])
def test_codes_that_were_not_made_for_these_pairs_are_a_sentence(project, tmp_path, changed) -> None:
    shutil.copytree(project.codes("style"), tmp_path / "style")
    index = json.loads((tmp_path / "style" / "index.json").read_text())
    (tmp_path / "style" / "index.json").write_text(json.dumps(index | changed))
    codes = {
        "content": StoredCodes(project.codes("content")),
        "style": StoredCodes(tmp_path / "style"),
    }
    with pytest.raises(UserError) as error:
        check_codes(codes, split(project, "train"), paired=True)
    assert str(tmp_path / "style") in error.value.fault
    assert "quantart encode" in error.value.remedy
    if "paired" in changed:
        check_codes(codes, split(project, "train"), paired=False)


def test_pictures_without_partners_are_a_sentence(project) -> None:
    pictures = split(project, "train")
    with pytest.raises(UserError) as error:
        training_partners({"content": pictures["content"], "style": SimpleNamespace(files=["other.png"])})
    assert "data.paired" in error.value.fault


def test_codes_smaller_than_the_crop_stop_before_a_run_is_made(project, data) -> None:
    params = project.params()
    train = params.stage2.train.model_copy(update={"crop": 64})
    larger = params.model_copy(update={"stage2": params.stage2.model_copy(update={"train": train})})
    with pytest.raises(UserError, match=r"codes/content: 32 × 32 .* 64 "):
        make_code_batches(larger, "discrete", data, process())


@pytest.mark.parametrize("weight", [0.0, 0.5])
def test_the_published_objective_has_a_discriminator_where_it_has_weight(project, weight) -> None:
    params = with_stage2(project.params(), discriminator={"weight": weight})
    objective = make_reference(make_model(params, "discrete", vqgans(project)), params)
    assert (objective.loss.discriminator is not None) == bool(weight)


@pytest.mark.parametrize("objective", ["painting", "reference"])
def test_a_batch_names_the_pictures_it_was_made_from(project, data, objective) -> None:
    params = with_stage2(project.params(), objective=objective)
    task = make_task(params, "discrete", vqgans=vqgans(project), data=data, accelerator=process())
    for step in range(4):
        batch, files = task.batch(step), task.files(step)
        for domain, part, named in zip(DOMAINS, batch, (files[:4], files[4:]), strict=True):
            source = data.train[domain]
            places = [source.files.index(name.removeprefix(f"{domain} ")) for name in named]
            assert _near(part, source.centre(places, 64), project, domain)


def _near(part: torch.Tensor, centres: torch.Tensor, project: Project, domain: Any) -> bool:
    """Whether crops, or their codes, are more like these pictures' centres than like these in another order."""
    if part.ndim == 3:
        network = ExperimentStage1.from_pretrained(project.stage1_model(domain))
        part = network.quantize.lookup(part).mean((2, 3))
        with torch.no_grad():
            expected = network.encode(pixels_to_float(centres)).z_q.mean((2, 3))
    else:
        part, expected = part.mean((2, 3)), pixels_to_float(centres).mean((2, 3))
    return bool((part - expected).square().sum() <= (part - expected.roll(1, 0)).square().sum())
