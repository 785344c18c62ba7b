"""A comparison as one self-contained HTML page: no script, no other file, no network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quantart.evaluation.baselines import ADAIN, COPIED_CONTENT, COPIED_STYLE
from quantart.evaluation.summary import rows_of
from quantart.images.arrays import Picture, to_pillow
from quantart.reporting.comparison.compare import Comparison, Difference, EvaluatedRun
from quantart.reporting.comparison.plot import forest_plot
from quantart.reporting.comparison.tables import MANY_METRICS
from quantart.reporting.words import NO_INTERVAL, UNITS, number, signed
from quantart.vocabulary.metrics import MODEL

_QUALITY = 90


_Gallery = tuple[list[str], list[list[tuple[str, str]]]]
"""Column titles, then rows of pictures, as data URIs, with captions; both "" where there are none."""


def page(comparison: Comparison) -> str:
    """The whole page: verdicts, parameters that differ, metrics, differences with a plot, pictures side by side."""
    environment = Environment(
        loader=PackageLoader("quantart.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters |= {"number": number, "signed": signed}
    return environment.get_template("compare.html").render(
        comparison=comparison,
        metrics=comparison.by_metric(),
        plots=[_plot(pair.differences) for pair in comparison.pairs],
        galleries=[_gallery(group) for group in _same_task(comparison)],
        many_metrics=MANY_METRICS,
        no_interval=NO_INTERVAL,
        units=UNITS,
    )


def _plot(differences: Sequence[Difference]) -> Markup:
    shown = [each for each in differences if each.verdict and each.first]
    return Markup(forest_plot(shown)) if shown else Markup("")  # noqa: S704 - Matplotlib escapes its texts


def _same_task(comparison: Comparison) -> list[dict[str, EvaluatedRun]]:
    """Runs by letter, in groups that were evaluated on the same pictures."""
    groups: dict[tuple[str, str], dict[str, EvaluatedRun]] = {}
    for letter, run in comparison.runs.items():
        about = run.record.about
        groups.setdefault((about.kind, about.digest), {})[letter] = run
    return list(groups.values())


def _gallery(runs: dict[str, EvaluatedRun]) -> _Gallery:
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
