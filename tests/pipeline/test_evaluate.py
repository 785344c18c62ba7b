import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from mlflow import MlflowClient

from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.images.arrays import centre_crop, resize_short_side
from quantart.images.decode import read_image
from quantart.models.pretrained import Pretrained
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.pipeline.evaluate import Options, run
from quantart.pipeline.trained import project_network, run_network
from quantart.project import Project
from quantart.reporting.record import Record, read_record
from quantart.reporting.reports import headlines
from quantart.reporting.run_metrics import measured_in
from quantart.tracking.find import find_run, select_runs
from quantart.tracking.lineage import data_of
from quantart.tracking.links import RunLink, read_link, write_link
from quantart.tracking.runs import stage_run
from quantart.tracking.store import configure
from quantart.vocabulary.names import DOMAINS

from ..models.networks import PAINTER

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def project(small_project: Project) -> Project:
    """With tracked runs of small networks: what `evaluate` stands on."""
    for stage, network in networks().items():
        network.save_pretrained(small_project.root / "models" / stage)
        kind, which = stage.split("_")
        setting = {"variant": which, "loss": 5} if kind == "stage2" else {"domain": which}
        upstream = {"stage1_content": "c0", "stage1_style": "50"} if kind == "stage2" else {}
        with stage_run(small_project.root, family=kind, name=stage, params=setting, upstream=upstream) as trained:
            trained.artifact(small_project.root / "models" / stage, "model")
        write_link(small_project.link(stage), RunLink(stage, trained.run_id, "quantart"))
    return small_project


def networks() -> dict[str, Pretrained]:
    torch.manual_seed(0)
    vqgans = [ExperimentStage1(PAINTER, n_embed=16, embed_dim=8) for _ in DOMAINS]
    return {
        "stage1_content": vqgans[0],
        "stage1_style": vqgans[1],
        "stage2_discrete": ExperimentStage2.from_stage1(*vqgans, variant="discrete", block_num=1),
        "stage2_continuous": ExperimentStage2.from_stage1(*vqgans, variant="continuous", block_num=1),
    }


def run_id(project: Project, stage: str) -> str:
    return read_link(project.link(stage)).run_id


def test_all_runs_of_the_pipeline_are_measured_and_know_it(project: Project) -> None:
    metrics = run(project)

    assert metrics.keys() == {"discrete", "continuous", "reconstruction"}
    assert headlines(metrics) == json.loads((project.reports / "metrics.json").read_text())
    assert metrics["discrete"]["n"] == 14
    assert metrics["reconstruction"].keys() == {"content", "style"}
    assert (project.reports / "grids/discrete.png").stat().st_size > 10_000
    assert (project.reports / "grids/discrete_extremes.png").stat().st_size > 10_000
    client = MlflowClient()
    for variant in ("discrete", "continuous"):
        logged = client.get_run(run_id(project, f"stage2_{variant}"))
        values = logged.data.metrics
        gram = "gram_squeezenet1_1"
        assert values[f"eval/{gram}"] == pytest.approx(metrics[variant][gram], rel=1e-5)
        assert values[f"eval_baselines/{gram}.adain"] == pytest.approx(
            metrics[variant]["baselines"]["adain"][gram], rel=1e-5
        )
        assert values[f"eval_interval/{gram}_low"] <= values[f"eval/{gram}"]
        assert values[f"eval/{gram}"] <= values[f"eval_interval/{gram}_high"]
        assert values["eval/n"] == 14
        assert {data.dataset.name for data in logged.inputs.dataset_inputs} == set(DOMAINS)
        table = mlflow.artifacts.download_artifacts(run_id=logged.info.run_id, artifact_path="eval/table.parquet")
        assert len(pd.read_parquet(table)) == 14 * 7
        assert client.list_artifacts(logged.info.run_id, "images")
        stored = project.pairs("test").read_bytes()
        used = mlflow.artifacts.download_artifacts(run_id=logged.info.run_id, artifact_path="pairs/test.csv")
        assert Path(used).read_bytes() == stored
        assert logged.data.tags["pairs.test"] == hashlib.sha256(stored).hexdigest()
        assert logged.info.status == "FINISHED"
    style = client.get_run(run_id(project, "stage1_style")).data.metrics
    assert style["eval/style/psnr"] == pytest.approx(metrics["reconstruction"]["style"]["psnr"], rel=1e-5)


def test_one_run_alone_leaves_the_pipelines_reports_as_they_are_and_logs_nothing_twice(project: Project) -> None:
    discrete = run_id(project, "stage2_discrete")
    project.reports.mkdir(exist_ok=True)
    for name in ("metrics.json", "summary.md", "summary.csv"):
        (project.reports / name).write_text("the pipeline's")
    before = {path: path.read_bytes() for path in project.reports.glob("*.*")}
    first = run(project, discrete)
    client = MlflowClient()
    history = client.get_metric_history(discrete, "eval/gram_squeezenet1_1")
    images = client.list_artifacts(discrete, "images")

    assert run(project, discrete) == first

    assert first.keys() == {"discrete"}
    assert (project.reports / "runs" / discrete / "summary.md").exists()
    assert {path: path.read_bytes() for path in project.reports.glob("*.*")} == before
    assert client.get_metric_history(discrete, "eval/gram_squeezenet1_1") == history
    assert [image.path for image in client.list_artifacts(discrete, "images")] == [image.path for image in images]


def test_by_another_network_nothing_of_the_former_evaluation_stays_current(project: Project, tmp_path: Path) -> None:
    with stage_run(project.root, family="stage2", name="again", params={"variant": "discrete"}) as trained:
        trained.artifact(project.stage2_model("discrete"), "model")
    discrete = trained.run_id
    run(project, discrete)
    before = measured_in(MlflowClient().get_run(discrete).data.metrics)
    other = Project(tmp_path / "other")
    shutil.copytree(project.root, other.root)
    params = yaml.safe_load((other.root / "params.yaml").read_text())
    params["evaluate"] |= {"network": "efficientnet_lite0", "features": "squeezenet1_1"}
    (other.root / "params.yaml").write_text(yaml.safe_dump(params))

    found = run(other, discrete)["discrete"]

    logged = MlflowClient().get_run(discrete).data.metrics
    current = measured_in(logged)
    assert current.keys() == found.keys() - {"n", "baselines"}
    both = {f"{kind}_{each}" for kind in ("texture", "structure") for each in ("squeezenet1_1", "efficientnet_lite0")}
    assert both < before.keys()  # both networks judge these, whichever comes first
    assert {name for name in before if "_squeezenet1_1" in name} & current.keys() == {
        name for name in both if "squeezenet" in name
    }
    gram = "gram_squeezenet1_1"
    for name in (f"eval/{gram}", f"eval_interval/{gram}_low", f"eval_baselines/{gram}.adain"):
        assert np.isnan(logged[name])
    history = MlflowClient().get_metric_history(discrete, "eval/gram_squeezenet1_1")
    assert history[-2].value == pytest.approx(before["gram_squeezenet1_1"].value)  # what was measured is not lost
    run(project, discrete)
    again = measured_in(MlflowClient().get_run(discrete).data.metrics)
    assert again.keys() == before.keys()
    assert again["gram_squeezenet1_1"].value == pytest.approx(before["gram_squeezenet1_1"].value, rel=1e-4)


def test_a_stage_1_run_is_measured_on_its_own_domain(project: Project) -> None:
    metrics = run(project, run_id(project, "stage1_style"))
    assert metrics.keys() == {"reconstruction"}
    assert metrics["reconstruction"].keys() == {"style"}


def test_under_fidelity_control_metrics_and_reports_have_their_own_place(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    run(project)
    discrete, continuous = (run_id(project, f"stage2_{variant}") for variant in ("discrete", "continuous"))
    client = MlflowClient()
    plain = {key: value for key, value in client.get_run(discrete).data.metrics.items()}
    before = {path: path.read_bytes() for path in project.reports.rglob("*") if path.is_file()}

    with caplog.at_level("INFO", "quantart"):
        metrics = run(project, options=Options(alpha=0.5))

    assert metrics.keys() == {"a0.50_b1.00"}
    assert f"run {continuous[:8]} (stage2_continuous@" in caplog.text
    folder = project.reports / "fidelity" / "a0.50_b1.00"
    assert json.loads((folder / "metrics.json").read_text()) == headlines(metrics)
    assert (folder / "grids/a0.50_b1.00.png").stat().st_size > 10_000
    assert {path: path.read_bytes() for path in before} == before
    logged = client.get_run(discrete).data
    gram = "gram_squeezenet1_1"
    assert logged.metrics[f"eval/a0.50_b1.00/{gram}"] == pytest.approx(metrics["a0.50_b1.00"][gram], rel=1e-5)
    assert metrics["a0.50_b1.00"]["baselines"]["adain"][gram] == pytest.approx(
        plain[f"eval_baselines/{gram}.adain"], rel=1e-5
    )
    assert metrics["a0.50_b1.00"][gram] != pytest.approx(plain[f"eval/{gram}"], rel=1e-3)
    assert plain.items() <= logged.metrics.items()
    assert logged.tags["eval/a0.50_b1.00/sibling"] == continuous


def test_alpha_at_the_other_end_measures_the_other_variant(project: Project) -> None:
    both = run(project)
    named = run(project, run_id(project, "stage2_discrete"), Options(alpha=0.0))["a0.00_b1.00"]
    for metric in ("gram_squeezenet1_1", "perceptual_squeezenet1_1", "colour_rgb"):
        assert named[metric] == pytest.approx(both["continuous"][metric], rel=1e-3)
    folder = project.reports / "runs" / run_id(project, "stage2_discrete") / "a0.00_b1.00"
    assert (folder / "summary.md").exists()


def test_a_models_own_alpha_and_beta_are_the_plain_evaluation(project: Project) -> None:
    continuous = run_id(project, "stage2_continuous")
    assert run(project, continuous, Options(alpha=0.0)) == run(project, continuous)
    assert not any(key.startswith("eval/a0.00") for key in MlflowClient().get_run(continuous).data.metrics)


def test_without_a_sibling_alpha_is_fixed_and_beta_is_not(project: Project) -> None:
    upstream = {"stage1_content": "c0", "stage1_style": "50"}
    setting = {"variant": "discrete", "loss": 7}  # the continuous run was told another loss
    with stage_run(project.root, family="stage2", name="lonely", params=setting, upstream=upstream) as lonely:
        lonely.artifact(project.stage2_model("discrete"), "model")
    with pytest.raises(UserError, match=r"alpha = 0.5 .*continuous"):
        run(project, lonely.run_id, Options(alpha=0.5))
    assert run(project, lonely.run_id, Options(beta=0.5)).keys() == {"a1.00_b0.50"}


def test_alpha_of_stage_1_and_out_of_range_is_a_sentence(project: Project) -> None:
    with pytest.raises(UserError, match="stage 1.* alpha or beta"):
        run(project, run_id(project, "stage1_style"), Options(beta=0.5))
    with pytest.raises(UserError, match="alpha = 1.5: must be a number from 0"):
        run(project, options=Options(alpha=1.5))


def test_a_named_runs_network_comes_from_the_run_and_the_projects_from_its_folder(project: Project) -> None:
    named = find_run(run_id(project, "stage2_discrete"))
    with run_network(named) as trained:
        assert not trained.folder.is_relative_to(project.root)
        logged = trained.load().state_dict()
    own = project_network(project, "stage2_discrete")
    assert (own.folder, own.run.info.run_id) == (project.stage2_model("discrete"), named.info.run_id)
    assert all(torch.equal(value, logged[key]) for key, value in own.load().state_dict().items())


def test_in_another_store_the_projects_networks_are_measured_and_runs_stand_for_theirs(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = run(project)
    clone = Project(tmp_path / "clone")
    shutil.copytree(project.root, clone.root, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts", "reports"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{clone.root}/mlflow.db")
    before = {path: path.read_bytes() for path in (clone.root / "runs").iterdir()}

    assert run(clone) == here

    own = project_network(clone, "stage2_discrete").run
    assert own.data.tags["stands_for"] == run_id(clone, "stage2_discrete") != own.info.run_id
    assert own.data.tags["upstream.stage1_style"] == run_id(clone, "stage1_style")
    assert own.data.metrics["eval/gram_squeezenet1_1"] == pytest.approx(here["discrete"]["gram_squeezenet1_1"])
    assert own.data.params["stage2.network.block_num"] == str(clone.params().stage2.network.block_num)
    assert run(clone, options=Options(alpha=0.5)).keys() == {"a0.50_b1.00"}
    with run_network(own) as trained:
        assert trained.load_stage_2("this").variant == "discrete"
    assert len(select_runs(filter="tags.stands_for LIKE '%'")) == 4  # made once each
    assert {path: path.read_bytes() for path in (clone.root / "runs").iterdir()} == before
    shutil.rmtree(clone.root / "runs")
    assert project_network(clone, "stage2_discrete").run.info.run_id == own.info.run_id
    configure(project.root)


def test_the_stored_pairs_are_the_measured_ones(project: Project, tmp_path: Path) -> None:
    other = Project(tmp_path / "other")
    shutil.copytree(project.root, other.root)
    lines = other.pairs("test").read_text().splitlines(keepends=True)
    other.pairs("test").write_text("".join([lines[0], lines[5], lines[3]]))
    discrete = run_id(project, "stage2_discrete")
    run(other, discrete)
    table = record(discrete).table
    measured = table[table.method == "model"]
    expected = [next(csv.reader([line])) for line in (lines[5], lines[3])]
    assert list(zip(measured["content"], measured["style"], strict=True)) == [(row[0], row[2]) for row in expected]

    other.pairs("test").write_text("".join([lines[0], lines[5].replace(".jpg", ".png", 1)]))
    with pytest.raises(UserError, match=r"test.csv: names '.*png' .*run `quantart pair` again"):
        run(other, discrete)
    other.pairs("test").unlink()
    with pytest.raises(UserError, match=r"test.csv: not found; run `quantart pair` first"):
        run(other, discrete)


def test_a_run_without_a_model_and_an_unknown_run_are_a_sentence(project: Project) -> None:
    with stage_run(project.root, family="stage2", name="stopped", params={}) as stopped:
        pass
    with pytest.raises(UserError, match=rf"run {stopped.run_id[:8]} \(stopped@\w+, .*no model"):
        run(project, stopped.run_id)
    with pytest.raises(UserError, match="run 0123456789abcdef is not in the tracking store"):
        run(project, "0123456789abcdef")


def test_a_project_without_trained_models_says_what_to_do(project: Project, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes((project.root / "params.yaml").read_bytes())
    (tmp_path / "data").symlink_to(project.root / "data")
    with pytest.raises(UserError, match="models/stage2_discrete"):
        run(Project(tmp_path))


def record(run_id: str, prefix: str = "eval") -> Record:
    return read_record(Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=prefix)))


def test_the_record_says_what_was_evaluated_and_holds_the_first_pairs(project: Project) -> None:
    run(project)
    discrete = run_id(project, "stage2_discrete")
    found = record(discrete)
    logged = MlflowClient().get_run(discrete).data
    assert logged.tags["eval/digest"] == found.about.digest
    assert (found.about.kind, found.about.n, found.about.resolution) == ("transfer", 14, 32)
    assert (found.about.alpha, found.about.beta) == (1.0, 1.0)
    assert found.features["model"].shape == (14, 1280)
    assert list(found.pictures) == list(range(12))
    assert found.pictures[0].keys() == {"model", "adain", "copied_content", "copied_style"}
    assert found.summary.query("method == 'model' and metric == 'cfsd_squeezenet1_1'").value.item() > 0
    table = mlflow.load_table("eval/table.json", run_ids=[discrete])
    pd.testing.assert_frame_equal(table, found.table, check_dtype=False)
    style = record(run_id(project, "stage1_style"), "eval/style")
    assert (style.about.kind, style.about.style) == ("reconstruction", "")
    assert style.table[["psnr", "ssim", "perceptual_squeezenet1_1"]].notna().all(axis=None)


def places(run_id: str) -> set[str]:
    """Where a run has evaluations."""
    tags = MlflowClient().get_run(run_id).data.tags
    return {tag.removesuffix("/digest") for tag in tags if tag.endswith("/digest")}


def test_a_beginning_of_an_id_and_another_number_of_pairs_of_another_split(project: Project) -> None:
    run(project)
    discrete = run_id(project, "stage2_discrete")
    plain, known = MlflowClient().get_run(discrete).data.metrics, places(discrete)
    metrics = run(project, discrete[:10], Options(pairs=5, split="val", batch_size=2))
    assert metrics["discrete"]["n"] == 5
    (place,) = places(discrete) - known
    found = record(discrete, place)
    assert place == f"eval/val_{found.about.digest[:8]}"
    assert set(found.table["content"]) <= set(PackedPictures(project.prepared("content"), "val").files)
    after = MlflowClient().get_run(discrete).data.metrics
    assert {name: after[name] for name in plain} == plain
    assert after[f"{place}/gram_squeezenet1_1"] == pytest.approx(metrics["discrete"]["gram_squeezenet1_1"], rel=1e-5)


def test_at_a_larger_size_the_pairs_are_made_from_their_originals(project: Project) -> None:
    discrete = run_id(project, "stage2_discrete")
    known, stored = places(discrete), record(discrete)
    run(project, discrete, Options(size=64))
    (place,) = places(discrete) - known
    found = record(discrete, place)
    assert place == f"eval/test_{found.about.digest[:8]}"
    assert (found.about.resolution, found.about.n) == (64, 14)
    names = ["method", "pair", "content", "style"]
    pd.testing.assert_frame_equal(found.table[names], stored.table[names])
    file = ROOT / "data/sample/photos" / found.table["content"][0]
    original = centre_crop(resize_short_side(read_image(file, max_pixels=10**6), 64), 64, 64)
    shown = found.pictures[0]["copied_content"]
    assert np.abs(shown.astype(int) - original.astype(int)).mean() < 3  # it was decoded at half its scale
    with pytest.raises(UserError, match="multiple of 2"):
        run(project, discrete, Options(size=65))


def test_from_any_folder_with_nothing_but_pictures(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for domain, source in (("content", "photos"), ("style", "paintings")):
        (tmp_path / domain).mkdir()
        for file in sorted((ROOT / "data/sample" / source).glob("*.jpg"))[:3]:
            shutil.copy(file, tmp_path / domain)
    monkeypatch.chdir(tmp_path)
    discrete = run_id(project, "stage2_discrete")
    known, data_before = places(discrete), data_of([find_run(discrete)])
    own = Options(content=Path("content"), style=Path("style"), size=32)

    metrics = run(None, discrete[:8], own)

    assert metrics["discrete"]["n"] == 9  # all there are
    assert (tmp_path / "reports/runs" / discrete / "summary.md").exists()
    (place,) = places(discrete) - known
    assert place.startswith("eval/own_")
    about = record(discrete, place).about
    assert (about.content, about.style) == ("content", "style")
    assert {data.context for data in data_of([find_run(discrete)]) if data not in data_before} == {"test"}
    with pytest.raises(UserError, match="evaluated on pictures of content and style, and --style DIR is missing"):
        run(None, discrete, Options(content=Path("content")))
    with pytest.raises(UserError, match="give --content DIR and --style DIR"):
        run(None, discrete)
    with pytest.raises(UserError, match="no params.yaml here"):
        run(None, None, own)


def test_a_stage_1_run_needs_its_own_domains_pictures_alone(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").mkdir()
    for file in sorted((ROOT / "data/sample/paintings").glob("*.jpg"))[:3]:
        shutil.copy(file, tmp_path / "mine")
    style = run_id(project, "stage1_style")

    metrics = run(None, style, Options(style=tmp_path / "mine"))

    assert metrics["reconstruction"]["style"]["n"] == 3
    with pytest.raises(UserError, match="pictures of style, and --style DIR is missing; give it, or none of your own"):
        run(project, style, Options(content=tmp_path / "mine"))
    with pytest.raises(UserError, match="no params.yaml here or in a folder above: give --style DIR to evaluate on"):
        run(None, style)
    (tmp_path / "mine" / "broken.jpg").write_bytes(b"no picture")
    wrong = "^--style: 1 of 4 .* share of 0.05; "
    with pytest.raises(UserError, match=wrong):
        run(None, style, Options(style=tmp_path / "mine"))
    with pytest.raises(UserError, match=f"^--style: {tmp_path}/none: "):
        run(None, style, Options(style=tmp_path / "none"))


def test_one_photograph_and_one_painting_are_measured_without_distances_of_sets(
    project: Project, tmp_path: Path
) -> None:
    for domain, source in (("content", "photos"), ("style", "paintings")):
        (tmp_path / domain).mkdir()
        shutil.copy(sorted((ROOT / "data/sample" / source).glob("*.jpg"))[0], tmp_path / domain)
    own = Options(content=tmp_path / "content", style=tmp_path / "style", size=64)
    metrics = run(project, run_id(project, "stage2_discrete"), own)["discrete"]
    assert metrics["n"] == 1
    assert metrics["gram_squeezenet1_1"] > 0
    assert not {"fd_efficientnet_lite0", "kd_efficientnet_lite0"} & metrics.keys()


def test_a_set_of_pictures_copied_onto_itself_is_at_distance_zero(project: Project) -> None:
    photographs = ROOT / "data/sample/photos"
    discrete = run_id(project, "stage2_discrete")
    known = places(discrete)
    run(project, discrete, Options(content=photographs, style=photographs, pairs=12))
    (place,) = places(discrete) - known
    summary = record(discrete, place).summary.set_index(["method", "metric"])["value"]
    assert summary["copied_content", "perceptual_squeezenet1_1"] == 0
    assert summary["copied_style", "fd_efficientnet_lite0"] == pytest.approx(0, abs=1e-4)


def test_a_sweep_is_a_table_and_a_plot_beside_the_baselines(project: Project) -> None:
    run(project)
    discrete = run_id(project, "stage2_discrete")
    before, known = MlflowClient().get_run(discrete).data.metrics, places(discrete)
    points = run(project, discrete, Options(sweep=True, pairs=3))
    assert len(points) == 25
    folder = project.reports / "runs" / discrete / "sweep"
    table = pd.read_csv(folder / "sweep.csv").set_index("method")
    assert table.loc["a0.50_b0.25", ["alpha", "beta"]].tolist() == [0.5, 0.25]
    assert np.isnan(table.loc["adain", "alpha"])
    gram = "gram_squeezenet1_1"
    assert table.loc["a1.00_b0.00", gram] == pytest.approx(table.loc["content_decoded", gram], rel=1e-3)
    assert read_image(folder / "sweep.png", max_pixels=10**7).std() > 10
    (place,) = places(discrete) - known
    logged = {file.path for file in MlflowClient().list_artifacts(discrete, place)}
    assert {f"{place}/sweep.png", f"{place}/sweep.svg", f"{place}/table.parquet"} <= logged
    logged_run = MlflowClient().get_run(discrete).data
    assert logged_run.metrics == before | {f"{place}/n": 3}
    assert logged_run.tags[f"{place}/sibling"] == run_id(project, "stage2_continuous")
    with pytest.raises(UserError, match="--sweep goes over alpha and beta by itself"):
        run(project, discrete, Options(sweep=True, alpha=0.5))


def test_magenta_is_one_more_baseline_where_it_is_wanted(project: Project) -> None:
    discrete = run_id(project, "stage2_discrete")
    known = places(discrete)
    run(project, discrete, Options(magenta=True, pairs=4))
    (place,) = places(discrete) - known
    assert record(discrete, place).table["method"].unique()[-1] == "magenta"


def test_refined_answers_are_one_more_method_where_they_are_wanted(project: Project) -> None:
    discrete = run_id(project, "stage2_discrete")
    known = places(discrete)
    run(project, discrete, Options(refine=1, size=64, pairs=2))
    (place,) = places(discrete) - known
    assert record(discrete, place).table["method"].unique()[-1] == "refined"
    with pytest.raises(UserError, match="^size 32: too small to be refined; use at least 64"):
        run(project, discrete, Options(refine=1, size=32, pairs=2))


def test_two_processes_measure_the_same(project: Project) -> None:
    discrete = run_id(project, "stage2_discrete")
    known = places(discrete)
    environment = {**os.environ, "QUANTART_PROJECT": str(project.root), "OMP_NUM_THREADS": "1"}
    options = ["--run-id", discrete, "--batch-size", "3", "--pairs", "7"]
    found = []
    for processes in ("2", "1"):
        environment["ACCELERATE_NUM_PROCESSES"] = processes
        command = [sys.executable, "-m", "quantart_cli", "evaluate", *options]
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=300)
        reports = project.reports / "runs" / discrete
        found.append((pd.read_csv(reports / "summary.csv"), pd.read_csv(reports / "plots/discrete.csv")))
    for together, alone in zip(*found, strict=True):
        pd.testing.assert_frame_equal(together, alone, rtol=1e-5, atol=1e-6)
    (place,) = places(discrete) - known
    assert len(MlflowClient().get_metric_history(discrete, f"{place}/n")) == 1
