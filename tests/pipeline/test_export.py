import base64
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
from quantart.images import decode_image, encode_png
from quantart.models.stage_2 import ExperimentStage2
from quantart.params import DOMAINS
from quantart.pipeline.export import run
from quantart.project import Project
from quantart.serving.stylizer import Stylizer
from quantart.tracking.links import RunLink, write_link
from quantart.tracking.runs import open_run, stage_run

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def network() -> ExperimentStage2:
    shape: dict[str, Any] = {"ch": 8, "ch_mult": [1, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
    shape |= {"double_z": False, "z_channels": 8, "resolution": 32, "in_channels": 3, "out_ch": 3}
    torch.manual_seed(0)
    return ExperimentStage2(shape, n_embed=16, embed_dim=8, block_num=1).eval()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, network: ExperimentStage2) -> Iterator[Project]:
    """Prepared pictures and a tracked stage-2 run with its network: what `export` stands on."""
    project = Project(tmp_path_factory.mktemp("project"))
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["data"] |= {"content": str(ROOT / "data/sample/photos"), "style": str(ROOT / "data/sample/paintings")}
    params["export"] = {"variant": "discrete", "name": "painter"}
    (project.root / "params.yaml").write_text(yaml.safe_dump(params))
    for domain in DOMAINS:
        prepare_domain(project.source(domain), project.prepared(domain), project.params().data, domain=domain)
    network.save_pretrained(project.stage2_model("discrete"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
        upstream = {"stage1_content": "c0", "stage1_style": "50"}
        with stage_run(project.root, stage="stage2", name="stage2_discrete", params={}, upstream=upstream) as trained:
            trained.artifact(project.stage2_model("discrete"), "model")
        link = RunLink(stage="stage2_discrete", run_id=trained.run_id, experiment="quantart")
        write_link(project.link("stage2_discrete"), link)
        yield project


def test_a_trained_run_becomes_the_challenger(project: Project, network: ExperimentStage2) -> None:
    run_id = json.loads(project.link("stage2_discrete").read_text())["run_id"]
    open_run(project.root, run_id).metrics(
        {"eval/gram_squeezenet1_1": 0.25, "eval/gram_squeezenet1_1_low": 0.2, "eval/adain/gram_squeezenet1_1": 0.5}, 0
    )
    shutil.rmtree(project.stage2_model("discrete"))  # the network comes from the run
    run(project)
    written = json.loads(project.link("export").read_text())
    assert written == {"name": "painter", "version": "1", "alias": "challenger", "run_id": run_id}

    version = MlflowClient().get_model_version_by_alias("painter", "challenger")
    assert "| gram_squeezenet1_1 | 0.25 |" in version.description
    assert version.tags["eval/gram_squeezenet1_1"] == "0.25"
    assert version.tags["upstream.stage1_style"] == "50"
    assert [key for key in version.tags if key.startswith("eval/")] == ["eval/gram_squeezenet1_1"]

    model = mlflow.pyfunc.load_model("models:/painter@challenger")
    held_out = [PackedPictures(project.prepared(domain), "test").picture(0) for domain in DOMAINS]
    for column, picture in zip(DOMAINS, held_out, strict=True):
        stored = decode_image(model.input_example[column][0], max_pixels=10**8)
        assert np.array_equal(stored, picture)
    row = dict(zip(DOMAINS, map(encode_png, held_out), strict=True))
    image = base64.b64decode(model.predict(pd.DataFrame([row], dtype=object))["image"][0])
    assert np.array_equal(decode_image(image, max_pixels=10**8), Stylizer(network).stylize(*held_out))


def test_exporting_again_makes_the_next_version_the_challenger(project: Project) -> None:
    before = int(run(project).version)
    assert run(project).version == str(before + 1)
    version = MlflowClient().get_model_version_by_alias("painter", "challenger")
    assert int(version.version) == before + 1


def test_a_stage_that_has_not_run_is_said(project: Project, tmp_path: Path) -> None:
    shutil.copy(project.root / "params.yaml", tmp_path)
    with pytest.raises(UserError, match=r"stage2_discrete\.json: not found; .*has not run"):
        run(Project(tmp_path))


def test_a_run_whose_network_is_gone_is_said(project: Project, tmp_path: Path) -> None:
    shutil.copy(project.root / "params.yaml", tmp_path)
    shutil.copytree(project.root / "data", tmp_path / "data")
    with stage_run(project.root, stage="stage2", name="stage2_discrete", params={}) as empty:
        pass
    lost = Project(tmp_path)
    write_link(lost.link("stage2_discrete"), RunLink("stage2_discrete", empty.run_id, "quantart"))
    with pytest.raises(UserError, match=f"run {empty.run_id}: its network is gone"):
        run(lost)
    assert not lost.link("export").exists()
