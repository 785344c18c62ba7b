import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantart.data.pictures import PackedPictures
from quantart.evaluation.baselines import BASELINES
from quantart.evaluation.evaluate import evaluate_reconstruction, evaluate_transfer
from quantart.evaluation.observed import Perception
from quantart.evaluation.summary import by_method
from quantart.evaluation.task import ReconstructionTask, TransferTask
from quantart.images import read_image
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.reporting.reports import headlines, write_reports
from quantart.vocabulary.metrics import MODEL
from quantart.vocabulary.names import Domain

FILES = ("metrics", "baselines")


@pytest.mark.parametrize("variant", ["discrete"], indirect=True)
def test_the_files_hold_what_was_measured(
    tmp_path: Path,
    model: ExperimentStage2,
    vqgan: ExperimentStage1,
    pictures: dict[Domain, PackedPictures],
    perception: Perception,
) -> None:
    styles = pictures["style"]
    task = TransferTask(pictures["content"], styles, [(0, 0), (1, 1), (0, 2)], 32)
    transfer = evaluate_transfer(model, task, perception, batch_size=4, samples=2)
    reconstruction = evaluate_reconstruction(vqgan, ReconstructionTask(styles, 32), perception, batch_size=4)

    metrics = write_reports(tmp_path / "reports", {"discrete": transfer}, {"style": reconstruction})

    files = {str(path.relative_to(tmp_path / "reports")) for path in tmp_path.rglob("*.*") if path.is_file()}
    plots = {"plots/methods.csv", "plots/discrete.csv"}
    assert files == {"metrics.json", "baselines.json", "summary.md", "summary.csv", "grids/discrete.png"} | plots
    written, baselines = (json.loads((tmp_path / f"reports/{name}.json").read_text()) for name in FILES)
    assert written == headlines(metrics)
    assert set(written["discrete"]) >= {"n", "gram_squeezenet1_1"}
    assert not set(written["discrete"]) & {"baselines", "latent_content", "colour_rgb"}
    assert baselines["discrete"].keys() == set(BASELINES)
    assert baselines["discrete"]["adain"]["n"] == 3
    scores = by_method(transfer.summary)
    gram = "gram_squeezenet1_1"
    assert metrics["discrete"][gram] == pytest.approx(scores[MODEL][gram].value, rel=1e-5)
    assert metrics["discrete"]["baselines"]["adain"][gram] == pytest.approx(scores["adain"][gram].value, rel=1e-5)
    assert metrics["discrete"]["baselines"].keys() == set(BASELINES)
    assert metrics["discrete"]["n"] == 3
    assert metrics["reconstruction"]["style"]["n"] == len(styles)
    assert 0 < metrics["reconstruction"]["style"]["psnr"] < 40

    methods = pd.read_csv(tmp_path / "reports/plots/methods.csv", index_col="method")
    assert list(methods.index) == ["discrete", *(f"{baseline} (discrete)" for baseline in BASELINES)]
    assert methods.loc["adain (discrete)", gram] == pytest.approx(scores["adain"][gram].value, rel=1e-5)
    rows = pd.read_csv(tmp_path / "reports/plots/discrete.csv")
    assert len(rows) == 3
    for frame in (rows, methods):
        assert np.array_equal(frame["content_distance"], frame["perceptual_squeezenet1_1"])
    summary = pd.read_csv(tmp_path / "reports/summary.csv").set_index(["variant", "method", "metric"])
    low, high = summary.loc[("discrete", MODEL, gram), ["low", "high"]]
    assert low <= scores[MODEL][gram].value <= high
    assert np.isfinite(summary.loc[("reconstruction, style", MODEL, "psnr"), "value"])
    assert "## Style transfer, discrete" in (tmp_path / "reports/summary.md").read_text()
    assert "## Reconstruction" in (tmp_path / "reports/summary.md").read_text()
    assert read_image(tmp_path / "reports/grids/discrete.png", max_pixels=10**7).std() > 10


def test_headlines_are_the_models_few_numbers() -> None:
    values = {"gram_vgg16": 0.5, "fd_inception_v3": 9.0, "n": 3, "latent_style": 0.1, "perplexity": 30.0}
    every = {"discrete": values | {"baselines": {"adain": values}}, "reconstruction": {"style": {"psnr": 20.0}}}
    assert headlines(every) == {
        "discrete": {"gram_vgg16": 0.5, "fd_inception_v3": 9.0, "n": 3},
        "reconstruction": {"style": {"psnr": 20.0}},
    }
