"""The pictures that people look at first: held-out pairs and what became of them, and a sweep's plot."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from quantart.evaluation.baselines import ADAIN, COLOUR_MATCHED, COPIED_CONTENT, COPIED_STYLE, MAGENTA
from quantart.images import Picture, picture_grid
from quantart.vocabulary.metrics import MODEL

GRID_PAIRS = 12
_COLUMNS = {
    COPIED_CONTENT: "content",
    COPIED_STYLE: "style",
    MODEL: "output",
    ADAIN: "AdaIN baseline",
    COLOUR_MATCHED: "colours matched",
    MAGENTA: "Magenta",
}
_CELL = 160
_GUTTER = 24


def transfer_grid(samples: Sequence[Mapping[str, Picture]]) -> Picture:
    """Pairs, each a row: content, style, the model's output, then those baselines that every sample has.

    The rows stand in two blocks side by side: pages and MLflow's square cards show a tall picture small.

    Args:
        samples: pictures by method, as in `EvaluationResult.samples`; the order is kept, down the first block first.
    """
    columns = _columns(samples)
    rows = [[sample[method] for method in columns] for sample in samples]
    height = -(-len(rows) // 2)
    titles = [_COLUMNS[method] for method in columns]
    blocks = [picture_grid(rows[top : top + height], titles, cell=_CELL) for top in range(0, len(rows), height)]
    return _side_by_side(blocks)


def ranked_pairs(table: pd.DataFrame, column: str, each: int = 3) -> dict[str, list[int]]:
    """The numbers of the `best`, `median` and `worst` pairs by the model's values of a metric, smaller being better.

    Each list goes from better to worse. Of fewer than `3 * each` pairs each list gets a third, at least one while there
    are any, so that no pair is in two lists.

    Args:
        table: a row for each method and pair, with the columns `method`, `pair` and `column`.
    """
    values = _model_values(table, column)
    in_order = [int(pair) for pair in values.index[np.argsort(values.to_numpy(), kind="stable")]]
    count = min(each, max(1, len(in_order) // 3))
    best, rest = in_order[:count], in_order[count:]
    between, worst = rest[:-count], rest[-count:]
    start = max(0, (len(between) - count) // 2)
    return {"best": best, "median": between[start : start + count], "worst": worst}


def ranked_grid(
    pictures: Mapping[int, Mapping[str, Picture]], table: pd.DataFrame, column: str, each: int = 3
) -> Picture:
    """The pairs of `ranked_pairs`, each a row titled with its rank and value; columns as in `transfer_grid`.

    Args:
        pictures: by number of the pair, then method; at least the ranked pairs.
        table, column, each: as in `ranked_pairs`.
    """
    values = _model_values(table, column)
    titled = [
        (f"{rank} {values[pair]:.3g}", pictures[pair])
        for rank, pairs in ranked_pairs(table, column, each).items()
        for pair in pairs
    ]
    columns = _columns([sample for _, sample in titled])
    return picture_grid(
        [[sample[method] for method in columns] for _, sample in titled],
        [_COLUMNS[method] for method in columns],
        [title for title, _ in titled],
        cell=_CELL,
    )


def sweep_plot(points: pd.DataFrame, content: str, style: str, baselines: pd.DataFrame | None = None) -> Figure:
    """Content distance against style distance: a curve for each alpha, along which beta is written.

    Args:
        points: a row for each setting: `alpha`, `beta`, and the two metrics' columns.
        content: name of the content distance, the x axis.
        style: name of the style distance, the y axis.
        baselines: a row for each: `method`, and the two metrics' columns; drawn as labelled points.
    """
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    for alpha, curve in points.sort_values(["alpha", "beta"]).groupby("alpha"):
        axes.plot(curve[content], curve[style], marker="o", ms=17, mfc="white", label=f"alpha {alpha:g}")
        for beta, x, y in zip(curve["beta"], curve[content], curve[style], strict=True):
            # as deep as the curve, so that it hides with its circle where the next curve crosses
            axes.annotate(f"{beta:g}", (x, y), ha="center", va="center", fontsize=7, zorder=Line2D.zorder)
    if baselines is not None:
        axes.scatter(baselines[content], baselines[style], marker="s", s=25, color="black", label="baselines", zorder=3)
        for method, x, y in zip(baselines["method"], baselines[content], baselines[style], strict=True):
            axes.annotate(method.replace("_", " "), (x, y), (6, 5), textcoords="offset points", fontsize=8)
    axes.set_title("Fidelity control: in the circles beta; nearer to the origin is better")
    axes.set_xlabel(f"{content}: distance to the photograph")
    axes.set_ylabel(f"{style}: distance to the painting")
    axes.margins(0.16, 0.12)
    axes.grid(alpha=0.3)
    axes.legend(markerscale=0.4)
    return figure


def write_figure(folder: Path, name: str, figure: Figure) -> list[Path]:
    """Write `<name>.png` and `<name>.svg` into `folder`, which is there; the same figure gives the same bytes."""
    files = []
    for ending, metadata in (("png", {}), ("svg", {"Date": None})):
        data = io.BytesIO()
        with mpl.rc_context({"svg.hashsalt": "quantart"}):
            figure.savefig(data, format=ending, dpi=120, metadata=metadata)
        files.append(folder / f"{name}.{ending}")
        files[-1].write_bytes(data.getvalue())
    return files


def _columns(samples: Sequence[Mapping[str, Picture]]) -> list[str]:
    return [method for method in _COLUMNS if all(method in sample for sample in samples)]


def _model_values(table: pd.DataFrame, column: str) -> pd.Series:
    """The model's values of a metric by number of the pair, in the order of these."""
    return table.loc[table["method"] == MODEL].set_index("pair")[column].sort_index()


def _side_by_side(blocks: list[Picture]) -> Picture:
    tallest = max(block.shape[0] for block in blocks)
    width = sum(block.shape[1] for block in blocks) + _GUTTER * (len(blocks) - 1)
    sheet = np.full((tallest, width, 3), 255, np.uint8)
    left = 0
    for block in blocks:
        sheet[: block.shape[0], left : left + block.shape[1]] = block
        left += block.shape[1] + _GUTTER
    return sheet
