"""A comparison as one self-contained HTML page: no script, no other file, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from quantart.evaluation.estimates import rows_of
from quantart.images.arrays import Picture, to_pillow
from quantart.reporting.comparison.compare import Comparison, Difference, EvaluatedRun
from quantart.reporting.comparison.tables import MANY_METRICS
from quantart.reporting.painting import RULE
from quantart.reporting.words import NO_INTERVAL, UNITS, number, signed
from quantart.vocabulary.methods import ADAIN, COPIED_CONTENT, COPIED_STYLE, MODEL
from quantart.vocabulary.metrics import larger_is_better

_QUALITY = 90
_WIDEST, _LINEAR = 100.0, 10.0
"""Per cent. If a bar is longer than the first, the scale is logarithmic beyond the second, to hide no other bar."""
_INK = "#010203"  # replaced by the page's own text colour
_COLOURS = {"better": "#2e9d5b", "worse": "#d5533f", "not told apart": "#8a8a8a"}


def page(comparison: Comparison) -> str:
    """The whole page: verdicts, parameters that differ, metrics, differences with a plot, pictures side by side."""
    environment = Environment(
        loader=PackageLoader("quantart.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed}
    same_task: dict[tuple[str, str], dict[str, EvaluatedRun]] = {}
    for letter, run in comparison.runs.items():
        same_task.setdefault((run.record.about.kind, run.record.about.digest), {})[letter] = run
    return environment.get_template("compare.html").render(
        comparison=comparison,
        metrics=comparison.by_metric(),
        # Matplotlib escapes its texts
        plots=[Markup(forest_plot(pair.differences)) for pair in comparison.pairs],  # noqa: S704
        galleries=[_gallery(group) for group in same_task.values()],
        many_metrics=MANY_METRICS,
        rule=RULE,
        no_interval=NO_INTERVAL,
        units=UNITS,
    )


def forest_plot(differences: Sequence[Difference]) -> str:
    """An SVG element: each metric's difference with its interval, in per cent of the first run's value.

    Right of 0 the second run is better, whichever direction is better for the metric. "" where nothing can be drawn,
    because no difference has an interval and a first value other than 0.
    """
    differences = [each for each in differences if each.verdict and each.first]
    if not differences:
        return ""
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
    if logarithmic := widest > _WIDEST:
        axes.set_xscale("symlog", linthresh=_LINEAR)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    reach = (1.3 if logarithmic else 1.05) * widest
    axes.set(xlim=(-reach, reach), ylim=(len(differences) - 0.4, -0.6), yticks=range(len(differences)))
    axes.set_yticklabels([row.metric for row in differences], parse_math=False)
    axes.axvline(0, color=_INK, linewidth=0.9)
    axes.set_xlabel("better by, %" + (f" (logarithmic beyond {_LINEAR:.0f} %)" if logarithmic else ""), color=_INK)
    axes.tick_params(colors=_INK, labelsize=9, length=3)
    for side, spine in axes.spines.items():
        spine.set(visible=side == "bottom", color=_INK)
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def _gallery(runs: dict[str, EvaluatedRun]) -> tuple[list[str], list[list[tuple[str, str]]]]:
    """Column titles, then rows of pictures, as data URIs, with captions; both "" where there are none."""
    pictures = {letter: run.record.pictures for letter, run in runs.items()}
    first = next(iter(runs))
    columns = {"content": (first, COPIED_CONTENT), "style": (first, COPIED_STYLE)}
    columns |= {f"{letter} ({run.name})": (letter, MODEL) for letter, run in runs.items()} | _adain_columns(runs)
    numbers = sorted(set.intersection(*map(set, pictures.values())))
    shown = {title: [pictures[letter][n].get(method) for n in numbers] for title, (letter, method) in columns.items()}
    shown = {title: found for title, found in shown.items() if any(picture is not None for picture in found)}
    captions = _file_names(runs[first])
    rows = [
        [(_data_uri(found[row]), captions.get((n, title), "")) for title, found in shown.items()]
        for row, n in enumerate(numbers)
    ]
    return list(shown), rows


def _adain_columns(runs: dict[str, EvaluatedRun]) -> dict[str, tuple[str, str]]:
    """One column for each set of VQGANs: runs that build on the same VQGANs have the same AdaIN pictures."""
    distinct: dict[tuple[bytes, ...], str] = {}
    for letter, run in runs.items():
        if pictures := tuple(p[ADAIN].tobytes() for _, p in sorted(run.record.pictures.items()) if ADAIN in p):
            distinct.setdefault(pictures, letter)
    one = len(distinct) == 1
    return {"AdaIN baseline" if one else f"AdaIN baseline of {letter}": (letter, ADAIN) for letter in distinct.values()}


def _file_names(run: EvaluatedRun) -> dict[tuple[int, str], str]:
    """File names by the pair's number and column title."""
    rows = rows_of(run.record.table).reset_index(drop=True)
    numbers = rows.get("pair", rows.index)
    columns = {"content": "content", "style": "style"} if "content" in rows else {"content": "file"}
    return {(int(n), title): str(rows[c][i]) for title, c in columns.items() for i, n in enumerate(numbers)}


def _data_uri(picture: Picture | None) -> str:
    if picture is None:
        return ""
    file = io.BytesIO()
    to_pillow(picture).save(file, "WEBP", quality=_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
