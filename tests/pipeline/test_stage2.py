"""Stage 2 in a project: which rows of codes it trains on, and which pairs it validates on."""

from __future__ import annotations

import hashlib
import json
import shutil
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

from quantart.data.codes import StoredCodes
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.evaluation.stage2_validation import validate_transfers
from quantart.models.stage_1 import ExperimentStage1
from quantart.params.training import DECODED
from quantart.pipeline import encode, pair, prepare, stage2
from quantart.pipeline.stage2 import training_partners
from quantart.pipeline.stage2_task import make_batches, make_model, make_objective, make_task
from quantart.project import Project
from quantart.tracking.links import RunLink, read_link, write_link
from quantart.vocabulary.names import DOMAINS

ROOT = Path(__file__).parents[2]
COPIES = 3


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Paired domains whose partners are the same picture, and one VQGAN for both: partners' codes are equal.

    Each domain has pictures that the other lacks, so that partners stand in different places.
    """
    project = Project(tmp_path_factory.mktemp("project"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"content": "photos", "style": "paintings", "paired": True, "val_share": 0.3, "test_share": 0.2}
    params["data"] |= {"resolution": 32, "short_side": 40}
    params["model"] |= {"ch": 8, "ch_mult": [1, 2], "z_channels": 8, "embed_dim": 8, "n_embed": 64}
    params["stage1"]["base"]["crop"] = params["stage1"]["domain"]["crop"] = 32
    params["encode"] = {"copies": COPIES, "batch_size": 8}
    params["stage2"]["train"] |= {"steps": 2, "batch_size": 4, "crop": 8, "log_every": 1, "checkpoint_every": 2}
    params["stage2"]["network"]["block_num"] = 1
    # crops that leave room to be cut are too small for losses on decoded pictures
    params["stage2"]["loss"] |= dict.fromkeys(DECODED, 0.0) | {"content_weight": 1.0}
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
    model = ExperimentStage1(project.params().model.ddconfig(32), 64, 8)
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
    return {domain: StoredCodes(project.codes(domain), "train") for domain in DOMAINS}


def split(project: Project, name: Any) -> dict[Any, PackedPictures]:
    return {domain: PackedPictures(project.prepared(domain), name) for domain in DOMAINS}


def vqgans(project: Project) -> dict[Any, Path]:
    return {domain: project.stage1_model(domain) for domain in DOMAINS}


def process(index: int = 0, count: int = 1) -> Any:
    return SimpleNamespace(process_index=index, num_processes=count, device=torch.device("cpu"))


@pytest.mark.parametrize("variant", ["discrete", "continuous"])
def test_a_paired_batch_holds_partners_in_the_same_copy_cut_at_the_same_place(project, codes, variant) -> None:
    params, known = project.params(), training_partners(codes, split(project, "train"))
    files = {domain: PackedPictures(project.prepared(domain), "train").files for domain in DOMAINS}
    assert [c for c, _ in known] != [s for _, s in known]
    assert all(Path(files["content"][c]).stem == Path(files["style"][s]).stem for c, s in known)
    batches = make_batches(codes, params, variant, process(), known)
    seen = []
    for step in range(3 * len(known)):
        content, style, painting = batches(step)
        photographs = batches.rows(step)[0] % codes["content"].pictures
        assert painting.tolist() == [dict(known)[photograph] for photograph in photographs]
        assert content.shape[-2:] == (8, 8)
        torch.testing.assert_close(content, style, rtol=0, atol=0.02)
        seen.append(content)
    assert len({part.numpy().tobytes() for batch in seen for part in batch}) > 2 * len(known)
    alone = make_batches(codes, params, variant, process())
    assert not all(torch.equal(*alone(step)[:2]) for step in range(4))


def test_processes_share_the_joint_paired_batch(project, codes) -> None:
    params, known = project.params(), training_partners(codes, split(project, "train"))
    joint, *parts = (
        make_batches(codes, params, "discrete", each, known)(5) for each in (process(), process(0, 2), process(1, 2))
    )
    for place in range(3):
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


def test_validation_is_on_the_stored_pairs(project) -> None:
    params = project.params()
    model = make_model(params, "discrete", vqgans(project)).eval()
    val = split(project, "val")
    device = torch.device("cpu")
    values = []
    with torch.inference_mode():
        for pairs in ([(0, 0)], [(0, 1)], [(0, 0), (0, 1)]):
            metrics, images = validate_transfers(model, val["content"], val["style"], pairs, 32, 1.0, device)
            values.append(metrics["latent_style"])
    assert values[0] != values[1]
    assert values[2] == pytest.approx((values[0] + values[1]) / 2, rel=1e-4)
    assert images["transfers"].ndim == 3


@pytest.mark.parametrize("changed", [{"paired": False}, {"copies": 1}, {"pictures": {"train": "other"}}])
def test_codes_that_were_not_made_for_these_pairs_are_a_sentence(project, tmp_path, changed) -> None:
    shutil.copytree(project.codes("style"), tmp_path / "style")
    index = json.loads((tmp_path / "style" / "index.json").read_text())
    (tmp_path / "style" / "index.json").write_text(json.dumps(index | changed))
    codes = {
        "content": StoredCodes(project.codes("content"), "train"),
        "style": StoredCodes(tmp_path / "style", "train"),
    }
    with pytest.raises(UserError) as error:
        training_partners(codes, split(project, "train"))
    assert str(tmp_path / "style") in error.value.fault
    assert "quantart encode" in error.value.remedy


def test_codes_smaller_than_the_crop_stop_before_a_run_is_made(project, codes) -> None:
    params = project.params()
    train = params.stage2.train.model_copy(update={"crop": 32})
    larger = params.model_copy(update={"stage2": params.stage2.model_copy(update={"train": train})})
    with pytest.raises(UserError, match=r"codes/content: 16 × 16 .* 32 "):
        make_batches(codes, larger, "discrete", process())


def test_the_objective_has_what_the_weights_ask_for_and_no_more(project) -> None:
    params = project.params()
    model = make_model(params, "discrete", vqgans(project))

    def objective(loss: dict[str, Any], weight: float) -> Any:
        section = params.stage2
        changed = {
            "loss": section.loss.model_copy(update=loss),
            "discriminator": section.discriminator.model_copy(update={"weight": weight}),
        }
        given = params.model_copy(update={"stage2": section.model_copy(update=changed)})
        return make_objective(model, given, 1.0)

    pictures = objective({"gram_weight": 1.0, "perceptual_network": "efficientnet_lite0"}, 0.0)
    assert pictures.decoded.network.network == "efficientnet_lite0"
    assert pictures.loss.discriminator is None
    latents = objective({"gram_weight": 0.0, "perceptual_weight": 0.0, "contrast_weight": 0.0}, 0.5)
    assert latents.decoded is None
    assert latents.loss.discriminator is not None


def test_a_batch_names_the_pictures_it_was_made_from(project, codes) -> None:
    val = split(project, "val")
    task = make_task(
        project.params(),
        "discrete",
        vqgans=vqgans(project),
        codes=codes,
        partners=None,
        pictures=split(project, "train"),
        val=val,
        pairs=[(0, 0)],
        accelerator=process(),
    )
    files = PackedPictures(project.prepared("style"), "train").files
    for step in range(4):
        painted = [f"style {files[place]}" for place in task.batch(step).painting.tolist()]
        assert task.files(step)[len(painted) :] == painted
