"""Evaluated runs compared through the tracking store: real pictures, a trained network and one that was spoilt."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from torch.nn.functional import mse_loss

from quantart.data.pictures import PackedPictures
from quantart.data.prepare import prepare_domain
from quantart.errors import UserError
from quantart.images.arrays import pixels_to_float
from quantart.models.pretrained import Pretrained
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline import evaluate, pair
from quantart.pipeline.compare import run
from quantart.project import Project
from quantart.reporting.comparison.compare import Comparison
from quantart.tracking.find import find_run, select_runs
from quantart.tracking.runs import stage_run
from quantart.vocabulary.names import DOMAINS

from ..models.networks import PAINTER

SHAPE = PAINTER | {"ch": 16}
HOSTILE = ("<script>alert({})<.jpg", "=1+1 {}.jpg")
"""File names that do something where they are not escaped."""
UPSTREAM = {"stage1_content": "c0", "stage1_style": "50"}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """With any other number the few seconds of training come to another network."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def project(small_project: Project, one_thread: None) -> Project:
    """With the runs `trained` and `scrambled`, both evaluated, and `new`, which is not."""
    vqgan = trained_vqgan(small_project)
    good = ExperimentStage2.from_stage1(vqgan, vqgan, transfer_network="twin", width=8, coarse_blocks=1, fine_blocks=1)
    for name, network in (("trained", good), ("scrambled", scrambled(good)), ("new", good)):
        run_id = track(small_project, name, network)
        if name != "new":
            evaluate.run(small_project, run_id)
    return small_project


def trained_vqgan(project: Project) -> ExperimentStage1:
    """Some seconds of training on both domains: pictures that one recognises."""
    torch.manual_seed(0)
    vqgan = ExperimentStage1(SHAPE, n_embed=64, embed_dim=8)
    packed = [PackedPictures(project.prepared(domain), "train") for domain in DOMAINS]
    pictures = torch.cat([pixels_to_float(each.centre(list(range(len(each))), 32)) for each in packed])
    with torch.no_grad():  # codes where the latents are, so that they are used from the start
        latents = vqgan.latents(pictures).movedim(1, -1).flatten(0, 2)
        vqgan.quantize.embedding.weight.copy_(latents[torch.randperm(len(latents))[:64]])
    optimizer = torch.optim.Adam(vqgan.parameters(), 3e-3)
    for _ in range(120):
        batch = pictures[torch.randint(len(pictures), (16,))]
        reconstruction, quantized = vqgan(batch)
        loss = mse_loss(reconstruction, batch) + quantized.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return vqgan


def scrambled(model: ExperimentStage2) -> ExperimentStage2:
    """The same network with each code's numbers in another order: the order of the codes alone would change nothing."""
    worse = ExperimentStage2(**model.config)
    worse.load_state_dict(model.state_dict())
    codes = worse.quantize_dec.embedding.weight
    with torch.no_grad():
        for code, order in zip(codes, np.random.default_rng(0).permuted([range(8)] * len(codes), axis=1), strict=True):
            code.copy_(code[torch.from_numpy(order)])
    return worse


def track(project: Project, name: str, network: Pretrained) -> str:
    network.save_pretrained(project.root / name)
    params = {"variant": "discrete", "codes": name}
    with stage_run(project.root, family="stage2", name=name, params=params, upstream=UPSTREAM) as tracked:
        tracked.artifact(project.root / name, "model")
    return tracked.run_id


def names(comparison: Comparison) -> list[str]:
    return [each.name.partition("@")[0] for each in comparison.runs.values()]


def test_a_trained_network_is_better_than_one_with_scrambled_codes_beyond_noise(project: Project) -> None:
    comparison = run(project, ["trained", "scrambled"])

    found = {each.metric: each for each in comparison.pairs[0].differences}
    for metric in ("latent_content", "latent_style"):
        assert 0 < found[metric].low < found[metric].difference < found[metric].high
        assert found[metric].verdict == "worse"
    # 14 pairs are too few for the distances of whole sets
    assert found["kd_efficientnet_lite0"].low < 0 < found["kd_efficientnet_lite0"].high
    assert found["fd_efficientnet_lite0"].caution == "fewer pictures (14) than features (1280)"
    assert "on 14 pairs: " in comparison.pairs[0].sentence
    assert "worse beyond noise on " in comparison.pairs[0].sentence
    assert comparison.parameters.to_dict("index") == {"stage2.codes": {"A": "trained", "B": "scrambled"}}
    logged = find_run("trained").data.metrics
    values = comparison.metrics[comparison.metrics["run"] == "A"].set_index("metric")["value"]
    assert values["gram_squeezenet1_1"] == pytest.approx(logged["eval/gram_squeezenet1_1"], rel=1e-6)


def test_an_evaluation_whose_files_are_gone_or_half_there_is_a_sentence_and_evaluate_mends_it(project: Project) -> None:
    trained = find_run("trained")
    folder = Path(trained.info.artifact_uri.removeprefix("file://"), "eval")
    evaluate_again = f"`quantart evaluate --run-id {trained.info.run_id}`"
    (folder / "features.safetensors").unlink()
    with pytest.raises(
        UserError, match=f"was evaluated, but features.safetensors of eval/ are gone .*{evaluate_again}"
    ):
        run(project, ["trained", "scrambled"])
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=f"was evaluated, but about.json, .* of eval/ are gone .*{evaluate_again}"):
        run(project, ["trained", "scrambled"])
    evaluate.run(project, trained.info.run_id)
    assert run(project, ["trained", "scrambled"]).pairs[0].differences

    digest = find_run("trained").data.tags["eval/digest"]
    MlflowClient().delete_tag(trained.info.run_id, "eval/digest")  # as `evaluate` does while it replaces one
    with pytest.raises(UserError, match=f"its evaluation eval/ was not logged to the end; {evaluate_again}"):
        run(project, ["trained", "scrambled"])
    MlflowClient().set_tag(trained.info.run_id, "eval/digest", digest)


def test_the_order_and_the_selection_of_runs_are_the_users(project: Project) -> None:
    wanted = "params.`stage2.codes` LIKE '%r%' and params.`stage2.variant` = 'discrete'"
    comparison = run(project, filter=wanted, last=2)
    assert names(comparison) == ["trained", "scrambled"]
    turned = run(project, ["scrambled"], filter=wanted)
    assert names(turned) == ["scrambled", "trained"]
    assert "better beyond noise on" in turned.pairs[0].sentence


def test_files_are_written_whole_and_replaced(project: Project, tmp_path: Path) -> None:
    html, table, kept = tmp_path / "report.html", tmp_path / "report.csv", tmp_path / "kept"
    kept.write_text("old")
    for file in (html, table):
        file.hardlink_to(kept)  # as DVC makes it of a file that it tracks
    run(project, ["trained", "scrambled"], html=html, csv=table)
    assert kept.read_text() == "old"
    kept.unlink()
    assert html.read_text().count("<img") > 12 * 4
    assert {row["verdict"] for row in csv.DictReader(table.open())} >= {"worse"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.csv", "report.html"]


def _rename_photos(project: Project) -> None:
    params_file = project.root / "params.yaml"
    params = yaml.safe_load(params_file.read_text())
    (project.root / "photos").mkdir()
    for number, photo in enumerate(sorted(Path(params["data"]["content"]).glob("*.jpg"))):
        (project.root / "photos" / HOSTILE[number % 2].format(number)).symlink_to(photo)
    params["data"]["content"] = "photos"
    params_file.write_text(yaml.safe_dump(params))
    prepare_domain(project.source("content"), project.prepared("content"), project.params().data, domain="content")
    pair.run(project)


def test_names_of_pictures_are_neither_markup_nor_formulas_from_prepare_to_the_page(
    prepared_project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(mlflow.set_tracking_uri, mlflow.get_tracking_uri()))
    project = Project(tmp_path / "project")
    shutil.copytree(prepared_project.root, project.root)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
    _rename_photos(project)
    vqgan = ExperimentStage1(SHAPE, n_embed=64, embed_dim=8)
    for name in ("one", "another"):
        evaluate.run(project, track(project, name, ExperimentStage2.from_stage1(vqgan, vqgan, block_num=1)))
    html, table = tmp_path / "report.html", tmp_path / "report.csv"
    run(project, ["one", "another"], html=html, csv=table)
    assert "<script" not in html.read_text()
    assert "&lt;script&gt;alert(" in html.read_text()
    assert "./=1+1 " in html.read_text()
    tables = [table, *project.prepared("content").glob("*.csv"), *(project.root / "reports").rglob("*.csv")]
    assert len(tables) > 4
    for path in tables:
        cells = [cell for row in csv.reader(path.open(newline="")) for cell in row]
        assert [cell for cell in cells if cell.startswith(("=", "+", "@"))] == [], path


def test_every_mistake_is_a_sentence_and_writes_nothing(project: Project, tmp_path: Path) -> None:
    def said(runs: list[str], **options: Any) -> str:
        with pytest.raises(UserError) as error:
            run(project, runs, **options)
        return str(error.value)

    html = tmp_path / "report.html"
    new = find_run("new").info.run_id
    assert said(["trained", "new"], html=html).endswith(
        f"has no evaluation to compare; `quantart evaluate --run-id {new}` makes one"
    )
    assert "needs at least two different runs, and found only" in said(["trained", "trained"], html=html)
    assert said([], filter="tags.stage = 'none'").endswith("found none")
    assert "run nobody is not in the tracking store" in said(["trained", "nobody"], html=html)
    assert said([], html=tmp_path / "no" / "a.html") == f"{tmp_path}/no/a.html: the folder {tmp_path}/no does not exist"
    assert said([], csv=tmp_path) == f"{tmp_path}: is a folder; name a file"
    client = MlflowClient()
    client.set_terminated(new, "FAILED")
    assert "is FAILED" in said(["trained", "new"], html=html)
    client.set_terminated(new, "FINISHED")
    assert list(tmp_path.iterdir()) == []


def test_parameters_of_a_resumed_run_and_of_the_runs_it_stands_on_are_compared(project: Project) -> None:
    client = MlflowClient()
    bases = []
    for steps in (7, 9):
        with stage_run(project.root, family="stage1", name="base", params={"steps": steps, "seed": 0}) as base:
            bases.append(base.run_id)
    chosen = [find_run("trained"), find_run("scrambled")]
    for each, base_id in zip(chosen, bases, strict=True):
        client.set_tag(each.info.run_id, "upstream.stage1_style", base_id)
    client.set_tag(chosen[1].info.run_id, "latest.stage2.variant", "continuous")
    client.log_param(chosen[0].info.run_id, "max_rows", 64)  # as MLflow does when the model is exported
    comparison = run(project, ["trained", "scrambled"])
    assert comparison.parameters.to_dict("index") == {
        "stage2.variant": {"A": "discrete", "B": "continuous"},
        "stage2.codes": {"A": "trained", "B": "scrambled"},
        "stage1_style: stage1.steps": {"A": "7", "B": "9"},
    }
    assert not any(each.metric.startswith("latent_") for each in comparison.pairs[0].differences)
    for each in chosen:
        client.set_tag(each.info.run_id, "upstream.stage1_style", UPSTREAM["stage1_style"])
    client.delete_tag(chosen[1].info.run_id, "latest.stage2.variant")


def test_outside_of_a_project_the_store_is_what_the_environment_says(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(run(None, ["trained", "scrambled"]).runs) == 2
    assert len(select_runs()) == 3
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(UserError, match="no params.yaml here or in a folder above; .* set MLFLOW_TRACKING_URI"):
        run(None, ["trained", "scrambled"])
