"""A grid of alpha and beta: how much style costs how much content."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from quantart.evaluation.baselines import ADAIN, COLOUR_MATCHED, CONTENT_DECODED, MAGENTA, STYLE_VQGAN
from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import by_method
from quantart.losses.lpips import LPIPS
from quantart.models.fidelity import Fidelity
from quantart.reporting.figures import sweep_plot, write_figure

# not the copies: a distance of zero would squeeze the rest
_SHOWN = (ADAIN, CONTENT_DECODED, STYLE_VQGAN, COLOUR_MATCHED, MAGENTA)


@dataclass(frozen=True)
class Sweep:
    """What became of each setting.

    Attributes:
        table: a row for each setting and then for each baseline: `method`, `alpha`, `beta` (none of a baseline's), and
            a column for each metric's mean.
        content, style: names of the two metrics that are plotted against each other.
    """

    table: pd.DataFrame
    content: str
    style: str

    @classmethod
    def of(cls, evaluation: EvaluationResult, fidelities: Sequence[Fidelity], lpips: LPIPS) -> Self:
        """Of an evaluation in which each setting is a method, called by the setting's name."""
        settings = {fidelity.name: fidelity for fidelity in fidelities}
        rows: list[dict[str, Any]] = []
        for method, scores in by_method(evaluation.summary).items():
            alpha, beta = settings.get(method, (None, None))
            means = {name: score.value for name, score in scores.items()}
            rows.append({"method": method, "alpha": alpha, "beta": beta} | means)
        return cls(pd.DataFrame(rows), lpips.metric, f"gram_{lpips.network}")

    def write(self, folder: Path) -> dict[str, Any]:
        """Write `sweep.csv`, and the plot as `sweep.png` and `sweep.svg`, into `folder`, which is made if absent.

        Returns:
            Both metrics by setting.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.table.to_csv(folder / "sweep.csv", index=False, float_format="%.6g")
        settings = self.table.dropna(subset=["alpha"])
        baselines = self.table[self.table["method"].isin(_SHOWN)]
        write_figure(folder, "sweep", sweep_plot(settings, self.content, self.style, baselines))
        both = settings[[self.content, self.style]].to_dict("records")
        return {str(method): values for method, values in zip(settings["method"], both, strict=True)}
