"""A grid of alpha and beta: how much content each gain in style costs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from quantart.evaluation.evaluate import EvaluationResult
from quantart.losses.lpips import LPIPS
from quantart.machine.whole import write_whole
from quantart.models.alpha_beta import Fidelity
from quantart.vocabulary.methods import ADAIN, COLOUR_MATCHED, CONTENT_DECODED, MAGENTA, REFINED, STYLE_VQGAN
from quantart.vocabulary.metrics import STRUCTURE, TEXTURE

# without the copies, whose distance of zero would squeeze the rest
_SHOWN = (ADAIN, CONTENT_DECODED, STYLE_VQGAN, COLOUR_MATCHED, REFINED, MAGENTA)


@dataclass(frozen=True)
class Sweep:
    """What each setting gave."""

    table: pd.DataFrame
    """A row for each setting, then for each baseline: `method`, `alpha`, `beta` (empty for a baseline), and a column
    for each metric's mean."""
    content: str
    style: str
    """The two metrics that are plotted against each other."""

    @classmethod
    def of(cls, result: EvaluationResult, fidelities: Sequence[Fidelity], lpips: LPIPS) -> Self:
        """Of an evaluation in which each setting is a method with the setting's name."""
        settings = {fidelity.name: fidelity for fidelity in fidelities}
        rows: list[dict[str, Any]] = []
        for method, found in result.summary.items():
            alpha, beta = settings.get(method, (None, None))
            means = {name: each.value for name, each in found.items()}
            rows.append({"method": method, "alpha": alpha, "beta": beta} | means)
        return cls(pd.DataFrame(rows), f"{STRUCTURE}{lpips.network}", f"{TEXTURE}{lpips.network}")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write `sweep.csv`, and the plot as `sweep.png` and `sweep.svg`, into `folder`, which is made if absent.

        The same table gives the same bytes. Both plotted metrics are returned by setting.
        """
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "sweep.csv", self.table.to_csv(index=False, float_format="%.6g").encode())
        figure = self.plot()
        for ending, metadata in (("png", {}), ("svg", {"Date": None})):
            with mpl.rc_context({"svg.hashsalt": "quantart"}):
                file = io.BytesIO()
                figure.savefig(file, format=ending, dpi=120, metadata=metadata)
            write_whole(folder / f"sweep.{ending}", file.getvalue())
        settings = self.table.dropna(subset=["alpha"])
        both = settings[[self.content, self.style]].to_dict("records")
        return {str(method): values for method, values in zip(settings["method"], both, strict=True)}

    def plot(self) -> Figure:
        """Content distance against style distance: a curve for each alpha with beta in its circles, and baselines."""
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.subplots()
        settings = self.table.dropna(subset=["alpha"]).sort_values(["alpha", "beta"])
        for alpha, curve in settings.groupby("alpha"):
            x, y = curve[self.content], curve[self.style]
            axes.plot(x, y, marker="o", ms=17, mfc="white", label=f"alpha {alpha:g}")
            for beta, place in zip(curve["beta"], zip(x, y, strict=True), strict=True):
                # at the curve's depth, so that the next curve hides it together with its circle where they cross
                axes.annotate(f"{beta:g}", place, ha="center", va="center", fontsize=7, zorder=Line2D.zorder)
        baselines = self.table[self.table["method"].isin(_SHOWN)]
        if len(baselines):
            x, y = baselines[self.content], baselines[self.style]
            axes.scatter(x, y, marker="s", s=25, color="black", label="baselines", zorder=3)
            for method, place in zip(baselines["method"], zip(x, y, strict=True), strict=True):
                axes.annotate(method.replace("_", " "), place, (6, 5), textcoords="offset points", fontsize=8)
        axes.set_title("Fidelity control: beta in the circles; closer to the origin is better")
        axes.set_xlabel(f"{self.content}: distance to the photograph")
        axes.set_ylabel(f"{self.style}: distance to the painting")
        axes.margins(0.16, 0.12)
        axes.grid(alpha=0.3)
        axes.legend(markerscale=0.4)
        return figure
