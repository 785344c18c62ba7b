from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from quantart.evaluation.estimates import Estimate
from quantart.images.decode import read_image
from quantart.losses.lpips import LPIPS
from quantart.models.alpha_beta import Fidelity
from quantart.reporting.sweep import Sweep
from tests.reporting.results import transfer_result

CONTENT, STYLE = "structure_squeezenet1_1", "texture_squeezenet1_1"


def sweep() -> Sweep:
    """Settings out of order, then two baselines, of which the copy is not shown."""
    settings = [(alpha, beta, beta / 2 + alpha / 10, 1 - beta) for beta in (1.0, 0.0, 0.5) for alpha in (1.0, 0.0)]
    rows = [(f"a{alpha}_b{beta}", alpha, beta, *values) for alpha, beta, *values in settings]
    rows += [("adain", None, None, 0.3, 0.4), ("copied_content", None, None, 0.0, 1.2)]
    return Sweep(pd.DataFrame(rows, columns=["method", "alpha", "beta", CONTENT, STYLE]), CONTENT, STYLE)


def curves(figure: Figure) -> dict[str, np.ndarray]:
    return {str(line.get_label()): line.get_xydata() for line in figure.axes[0].lines}


def test_a_sweep_has_a_row_for_each_method_with_its_setting() -> None:
    settings = [Fidelity(0.0, 0.5), Fidelity(1.0, 1.0)]
    values = {**{fidelity.name: fidelity.beta for fidelity in settings}, "adain": 3.0}
    summary = {method: {CONTENT: Estimate(value, 0.0, 1.0)} for method, value in values.items()}
    made = Sweep.of(replace(transfer_result(), summary=summary), settings, LPIPS("squeezenet1_1"))
    assert (made.content, made.style) == (CONTENT, STYLE)
    assert made.table["method"].tolist() == [*(f.name for f in settings), "adain"]
    assert made.table[CONTENT].tolist() == [0.5, 1.0, 3.0]
    np.testing.assert_array_equal(made.table[["alpha", "beta"]], [[0, 0.5], [1, 1], [np.nan, np.nan]])


def test_the_plot_has_a_curve_for_each_alpha_along_beta() -> None:
    figure = sweep().plot()
    assert list(curves(figure)) == ["alpha 0", "alpha 1"]
    np.testing.assert_allclose(curves(figure)["alpha 0"], [[0, 1], [0.25, 0.5], [0.5, 0]])
    np.testing.assert_allclose(curves(figure)["alpha 1"], [[0.1, 1], [0.35, 0.5], [0.6, 0]])
    (axes,) = figure.axes
    labels = {(text.get_text(), *text.xy) for text in axes.texts}
    assert {("0.5", 0.25, 0.5), ("0.5", 0.35, 0.5), ("0", 0.0, 1.0), ("1", 0.6, 0.0)} < labels
    assert ("adain", 0.3, 0.4) in labels
    assert "copied content" not in {text for text, *_ in labels}
    assert axes.get_xlabel().startswith(CONTENT)
    assert axes.get_ylabel().startswith(STYLE)


def test_the_files_hold_the_table_and_the_plot_and_are_the_same_each_time(tmp_path: Path) -> None:
    values = sweep().write(tmp_path)
    assert values["a1.0_b0.5"] == {CONTENT: pytest.approx(0.35), STYLE: 0.5}
    assert len(values) == 6
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "sweep.csv"), sweep().table)
    picture = read_image(tmp_path / "sweep.png", max_pixels=10**8)
    assert picture.shape == (720, 960, 3)
    assert picture.std() > 5
    assert ElementTree.parse(tmp_path / "sweep.svg").getroot().tag.endswith("svg")
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert set(before) == {"sweep.csv", "sweep.png", "sweep.svg"}
    elsewhere = tmp_path.parent / "elsewhere"
    elsewhere.write_bytes(b"kept")
    for name in before:
        (tmp_path / name).unlink()
        (tmp_path / name).hardlink_to(elsewhere)
    sweep().write(tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert elsewhere.read_bytes() == b"kept"
