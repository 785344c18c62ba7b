"""The differences of two runs as a forest plot."""

from __future__ import annotations

import io
from collections.abc import Sequence

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from quantart.reporting.comparison.compare import Difference
from quantart.vocabulary.metrics import larger_is_better

WIDEST = 100.0
"""Per cent. If a bar is longer, the scale is logarithmic beyond `LINEAR`, so that the bar does not hide the others."""
LINEAR = 10.0

# replaced by the page's own text colour
_INK = "#010203"
_COLOURS = {"better": "#2e9d5b", "worse": "#d5533f", "not told apart": "#8a8a8a"}


def forest_plot(differences: Sequence[Difference]) -> str:
    """An SVG element: each metric's difference with its interval, in per cent of the first run's value.

    Right of 0 the second run is better, whichever direction is better for the metric.

    Args:
        differences: of one pair of runs, each with an interval and a non-zero first value.
    """
    figure = Figure(figsize=(6.0, 0.6 + 0.26 * len(differences)), layout="constrained")
    axes = figure.add_subplot()
    widest = 1.0
    for place, row in enumerate(differences):
        scale = (100 if larger_is_better(row.metric) else -100) / abs(row.first)
        centre, ends = row.difference * scale, sorted((row.low * scale, row.high * scale))
        widest = max(widest, *(abs(end) for end in ends))
        hollow = row.verdict == "not told apart"
        axes.plot(ends, [place, place], color=_COLOURS[row.verdict], linewidth=2.2, solid_capstyle="round")
        axes.plot(centre, place, "o", ms=6, mew=1.6, color=_COLOURS[row.verdict], mfc="none" if hollow else None)
    if logarithmic := widest > WIDEST:
        axes.set_xscale("symlog", linthresh=LINEAR)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    reach = (1.3 if logarithmic else 1.05) * widest
    axes.set(xlim=(-reach, reach), ylim=(len(differences) - 0.4, -0.6), yticks=range(len(differences)))
    axes.set_yticklabels([row.metric for row in differences], parse_math=False)
    axes.axvline(0, color=_INK, linewidth=0.9)
    axes.set_xlabel("better by, %" + (f" (logarithmic beyond {LINEAR:.0f} %)" if logarithmic else ""), color=_INK)
    axes.tick_params(colors=_INK, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=_INK)
    return _element(figure)


def _element(figure: Figure) -> str:
    """The `<svg>` element alone, in the page's font and colours."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")
