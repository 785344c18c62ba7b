import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quantart.images.decode import read_image
from quantart.reporting.painting import RULE
from quantart.reporting.reports import headlines, reconstruction_section, transfer_section, verdicts, write_reports
from quantart.vocabulary.methods import BASELINES, MODEL
from tests.reporting.results import CONTENT, OTHER, PAIRS, STYLE, reconstruction_result, transfer_result


def test_the_files_hold_what_was_measured(tmp_path: Path) -> None:
    transfer, folder = transfer_result(), tmp_path / "reports"

    metrics = write_reports(
        folder, {"discrete": transfer}, {"style": reconstruction_result()}, {"discrete": "By networks."}
    )

    files = {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path.is_file()}
    plots = {"plots/methods.csv", "plots/discrete.csv"}
    assert files == {"metrics.json", "baselines.json", "summary.md", "summary.csv", "grids/discrete.png"} | plots
    written, baselines = (json.loads((folder / f"{name}.json").read_text()) for name in ("metrics", "baselines"))
    assert written == headlines(metrics)
    assert set(written["discrete"]) == {"n", CONTENT, STYLE, "colour_rgb", "kd_net", "usage"}
    assert baselines["discrete"].keys() == metrics["discrete"]["baselines"].keys() == set(BASELINES)
    assert baselines["discrete"]["adain"]["n"] == metrics["discrete"]["n"] == PAIRS
    scores = transfer.summary
    assert metrics["discrete"][STYLE] == pytest.approx(scores[MODEL][STYLE].value, rel=1e-5)
    assert metrics["discrete"]["baselines"]["adain"][STYLE] == pytest.approx(scores["adain"][STYLE].value, rel=1e-5)
    assert written["reconstruction"] == {"style": {"psnr": 22.0, "usage": 0.25, "n": 3}}

    methods = pd.read_csv(folder / "plots/methods.csv", index_col="method")
    assert list(methods.index) == ["discrete", *(f"{baseline} (discrete)" for baseline in BASELINES)]
    assert methods.loc["adain (discrete)", STYLE] == pytest.approx(scores["adain"][STYLE].value, rel=1e-5)
    rows = pd.read_csv(folder / "plots/discrete.csv")
    assert len(rows) == PAIRS
    assert rows[STYLE].mean() == pytest.approx(scores[MODEL][STYLE].value, rel=1e-5)
    summary = pd.read_csv(folder / "summary.csv")
    assert list(summary.columns) == ["variant", "method", "metric", "value", "low", "high", "n"]
    summary = summary.set_index(["variant", "method", "metric"])
    low, high = summary.loc[("discrete", MODEL, STYLE), ["low", "high"]]
    assert low <= scores[MODEL][STYLE].value <= high
    assert summary.loc[("reconstruction, style", MODEL, "psnr"), "value"] == 22
    text = (folder / "summary.md").read_text()
    assert text.count(RULE) == text.count("By networks.") == 1
    assert text.index(RULE) < text.index("## Style transfer, discrete") < text.index("## Reconstruction")
    assert read_image(folder / "grids/discrete.png", max_pixels=10**7).std() > 10


def test_a_file_that_has_another_name_too_is_replaced_not_written_through(tmp_path: Path) -> None:
    folder, cache = tmp_path / "reports", tmp_path / "cache"
    results = {"discrete": transfer_result()}, {"style": reconstruction_result()}
    write_reports(folder, *results, {"discrete": "By networks."})
    files = sorted(path for path in folder.rglob("*.*") if path.is_file())
    cache.mkdir()
    for number, file in enumerate(files):
        (cache / str(number)).write_bytes(b"kept")
        file.unlink()
        file.hardlink_to(cache / str(number))

    write_reports(folder, *results, {"discrete": "By networks."})

    assert {path.read_bytes() for path in cache.iterdir()} == {b"kept"}
    assert [path for path in files if path.read_bytes() == b"kept"] == []


def test_headlines_are_the_models_few_numbers() -> None:
    values = {"texture_vgg16": 0.5, "kid": 9.0, "n": 3, "gram_vgg16": 0.1, "perplexity": 30.0}
    every = {"discrete": values | {"baselines": {"adain": values}}, "reconstruction": {"style": {"psnr": 20.0}}}
    assert headlines(every) == {
        "discrete": {"texture_vgg16": 0.5, "kid": 9.0, "n": 3},
        "reconstruction": {"style": {"psnr": 20.0}},
    }


def test_verdicts_follow_the_differences_on_the_same_pairs() -> None:
    assert verdicts(transfer_result())["adain"] == {
        CONTENT: "worse",
        STYLE: "better",
        "colour_rgb": "not told apart",
        OTHER: "not told apart",
        "fd_net": "worse",
        "kd_net": "worse",
    }


def test_the_section_lists_the_metrics_of_each_verdict_and_a_row_for_each_method() -> None:
    text = transfer_section("discrete", transfer_result(), "By networks.")
    assert text.startswith("## Style transfer, discrete\n\n**The discrete model tints.**\n40 held-out pairs of 5")
    (adain,) = (line for line in text.splitlines() if line.startswith("- Against AdaIN"))
    better, worse, same = adain.split("; ")
    assert better.endswith(f" `{STYLE}`")
    assert worse.endswith(f" `{CONTENT}`, `fd_net`, `kd_net`")
    assert same.endswith(f" `colour_rgb`, `{OTHER}`.")
    table = [line for line in text.splitlines() if line.startswith("|")]
    few, others = table[: len(table) // 2], table[len(table) // 2 :]
    assert few[0] == f"| | {CONTENT} | {STYLE} | colour_rgb | n |"
    assert others[0] == f"| | {OTHER} | fd_net | kd_net | usage | n |"
    assert len(few) == len(others) == 2 + 1 + len(BASELINES)
    assert few[2].startswith("| the model | ")
    assert others[2].endswith(" | 0.5 (no interval) | 40 |")
    assert " ± " in few[2]


def test_a_warning_stands_beside_a_frechet_distance_of_few_pictures() -> None:
    enough = transfer_result()
    warning = "`fd_net` on 40 pictures with 48 features"
    assert warning not in transfer_section("discrete", enough, "")
    wide = {method: np.tile(values, (1, 6)) for method, values in enough.features.items()}
    assert warning in transfer_section("discrete", replace(enough, features=wide), "")


def test_reconstruction_has_a_row_for_each_domain() -> None:
    made = reconstruction_result()
    text = reconstruction_section({"content": made, "style": made})
    assert "| content | 22 ± " in text
    assert "| style | 22 ± " in text
    assert " | 0.25 (no interval) | 3 |" in text
