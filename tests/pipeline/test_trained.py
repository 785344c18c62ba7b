"""The model that comes with the package, by its name where a run of one's own may stand."""

import base64
from itertools import combinations

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.images.arrays import encode_png
from quantart.images.decode import decode_image
from quantart.models.folder import WEIGHTS, file_sha256
from quantart.models.shipped import SHIPPED, shipped
from quantart.pipeline import compare, evaluate, export
from quantart.pipeline.trained import named_run, project_network, run_network
from quantart.project import Project
from quantart.registry.versions import Registry
from quantart.stylize.networks import named_networks
from quantart.stylize.stylizer import Stylizer
from quantart.tracking.find import select_runs
from quantart.tracking.lineage import parameters_of
from quantart.tracking.links import RunLink, write_link
from quantart.tracking.runs import stage_run
from quantart.tracking.spool import Spool
from quantart.tracking.store import configure
from quantart.vocabulary.names import DOMAINS

from ..models.networks import small_stage_1


def test_it_is_measured_and_all_goes_into_one_run(small_project: Project) -> None:
    discrete = evaluate.run(small_project, SHIPPED)["discrete"]
    continuous = evaluate.run(small_project, SHIPPED, evaluate.Options(alpha=0.0))["a0.00_b1.00"]
    (run,) = select_runs()
    assert run.info.run_name == f"quantart/open@{run.info.run_id[:8]}"
    gram = "gram_squeezenet1_1"
    assert run.data.metrics["eval/n"] == 14
    assert run.data.metrics[f"eval/{gram}"] == pytest.approx(discrete[gram], rel=1e-5)
    assert run.data.metrics[f"eval/a0.00_b1.00/{gram}"] == pytest.approx(continuous[gram], rel=1e-5)
    assert continuous[gram] != pytest.approx(discrete[gram], rel=1e-4)
    assert run.data.tags["eval/a0.00_b1.00/sibling"] == run.info.run_id
    assert parameters_of(run)["stage2.painting.perceptual_network"] == "squeezenet1_1"
    with run_network(run) as trained:
        assert file_sha256(trained.folder / WEIGHTS) == file_sha256(shipped("stage2_discrete") / WEIGHTS)
    with pytest.raises(UserError, match=r"two different runs, and found only .*quantart/open@"):
        compare.run(small_project, [SHIPPED, SHIPPED])


def test_it_is_registered_with_both_variants_and_the_licences_of_its_pictures(small_project: Project) -> None:
    registered = export.run(small_project, SHIPPED)
    run_id = named_run(small_project.root, SHIPPED).info.run_id
    version = MlflowClient().get_model_version_by_alias("quantart", "challenger")
    assert (str(version.version), registered.run_id) == (registered.version, run_id)
    assert Registry("quantart").find(SHIPPED).number == registered.version
    assert version.tags["imported.file"] == SHIPPED
    training = [line for line in version.description.splitlines() if line.startswith("| training |")]
    assert [line.split(" | ")[1:3] + [line.split(" | ")[5]] for line in training] == [
        ["content", "193", "CC0, NASA, Unsplash licence or CC BY 4.0 |"],
        ["style", "408", "CC0 or public domain |"],
    ]
    photo, painting = (PackedPictures(small_project.prepared(domain), "test").picture(0) for domain in DOMAINS)
    frame = pd.DataFrame([{"content": encode_png(photo), "style": encode_png(painting)}], dtype=object)
    model, networks = mlflow.pyfunc.load_model(registered.uri), named_networks([SHIPPED], None)[0]
    answers = []
    for alpha in (1.0, 0.5, 0.0):
        image = base64.b64decode(model.predict(frame, params={"alpha": alpha})["image"][0])
        answers.append(decode_image(image, max_pixels=10**8).astype(float))
        expected = Stylizer(networks).stylize(photo, painting, alpha)  # by torch, which may round to other levels
        assert np.abs(answers[-1] - expected).mean() < 0.25
    assert min(np.abs(a - b).mean() for a, b in combinations(answers, 2)) > 0.5


def link_network(project: Project, run_id: str) -> None:
    """A network in `models/`, and that run as the one that trained it."""
    configure(project.root)
    small_stage_1().save_pretrained(project.stage1_model("content"))
    write_link(project.link("stage1_content"), RunLink("stage1_content", run_id, "quantart"))


def test_a_run_that_was_deleted_is_named_and_another_stands_for_it(
    small_project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with stage_run(small_project.root, family="stage1", name="stage1_content", params={}) as deleted:
        pass
    link_network(small_project, deleted.run_id)
    MlflowClient().delete_run(deleted.run_id)
    standing = project_network(small_project, "stage1_content").run
    assert standing.data.tags["stands_for"] == deleted.run_id != standing.info.run_id
    assert f"mlflow runs restore --run-id {deleted.run_id}`" in caplog.text
    MlflowClient().restore_run(deleted.run_id)
    assert project_network(small_project, "stage1_content").run.info.run_id == deleted.run_id


def test_a_run_that_waits_for_its_server_is_not_replaced(small_project: Project) -> None:
    spool = Spool.create(small_project.root, "http://127.0.0.1:9")
    spool.lock.release()
    link_network(small_project, spool.local_id)
    with pytest.raises(UserError, match=f"^run {spool.local_id}: .*`quantart sync`"):
        project_network(small_project, "stage1_content")
    spool.remove()
