"""Runs that were evaluated on the same pictures, side by side: what differs, and which is better beyond noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from string import ascii_uppercase
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from quantart.evaluation.baselines import COPIED_CONTENT, COPIED_STYLE
from quantart.evaluation.set_distances import too_few_pictures
from quantart.evaluation.summary import Measurement, difference, measurements, sharing_of
from quantart.reporting.record import About, Record
from quantart.vocabulary.metrics import COMPOSITE_NAMES, FRECHET_NAMES, MODEL, larger_is_better

Verdict = Literal["better", "worse", "not told apart", ""]

_PHRASES: dict[Verdict, str] = {
    "better": "better beyond noise on",
    "worse": "worse beyond noise on",
    "not told apart": "not told apart on",
}
_KINDS = {"transfer": "style transfer", "reconstruction": "reconstruction"}
UNITS = {"transfer": "pairs", "reconstruction": "pictures"}
# each network's own latents: a number of one says nothing beside a number of another
_IN_LATENTS = "latent_"

# the kernel distance, which stands firm on few pictures, is not among them
_OF_SETS = (*FRECHET_NAMES, *COMPOSITE_NAMES)

METRICS = ["run", "metric", "value", "low", "high", "n"]


@dataclass(frozen=True)
class EvaluatedRun:
    """A run and its evaluation.

    Attributes:
        run_id, name, started: of the tracked run.
        parameters: what it was told, and what the runs were told that it stands on, by name.
        upstream: ids of the runs that it stands on, by stage.
    """

    run_id: str
    name: str
    started: datetime
    parameters: Mapping[str, str]
    upstream: Mapping[str, str]
    record: Record


class Difference(NamedTuple):
    """One metric of two runs: the second's value minus the first's."""

    metric: str
    first: float
    """The first run's value."""
    difference: float
    low: float
    """Ends of the paired bootstrap 95 % interval of the difference; NaN where there is none."""
    high: float
    verdict: Verdict
    """On the second run; "" where there is no interval."""
    caution: str = ""
    """Why the verdict is weak, beside what its interval says; "" where nothing is."""


class PairOfRuns(NamedTuple):
    """Two runs by their letters."""

    first: str
    second: str
    differences: list[Difference]
    """Empty where the two were not evaluated on the same pictures. Latent distances are there only where both stand on
    the same VQGANs."""
    sentence: str
    """How the second compares with the first."""


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds.

    Attributes:
        runs: by letter: A is the first that was named.
        parameters: a row for each parameter that differs, a column for each letter; "" where a run has none.
        metrics: `run` (letter), `metric`, `value`, `low`, `high` (bootstrap 95 % interval, NaN where there is none),
            `n` (pairs or pictures).
        pairs: every pair of runs.
    """

    runs: Mapping[str, EvaluatedRun]
    parameters: pd.DataFrame
    metrics: pd.DataFrame
    pairs: list[PairOfRuns]


def compare(runs: Sequence[EvaluatedRun]) -> Comparison:
    """Compare runs on the parameters that differ, on their metrics, and pair by pair on the same pictures.

    The interval of a difference comes from resampling the photographs and the paintings, the same draws
    for both runs: what makes a pair hard for both of them cancels. It is 95 % for each metric by itself.
    """
    lettered = {_letter(place): run for place, run in enumerate(runs)}
    pairs: list[PairOfRuns] = []
    for first, second in combinations(lettered, 2):
        one, two = lettered[first], lettered[second]
        obstacle = _obstacle(one.record.about, two.record.about)
        found = [] if obstacle else _differences(one, two)
        sentence = _sentence(_title(first, one), _title(second, two), found, one.record.about, obstacle)
        sentence = " ".join(filter(None, [sentence, *_cautions(one.record, two.record, found)]))
        pairs.append(PairOfRuns(first, second, found, sentence))
    return Comparison(
        runs=lettered,
        parameters=_differing({letter: run.parameters for letter, run in lettered.items()}),
        metrics=_metrics({letter: run.record for letter, run in lettered.items()}),
        pairs=pairs,
    )


def measured_in_record(record: Record) -> dict[str, Measurement]:
    """The model's metrics with each pair's influence; usage and perplexity have none."""
    reference = COPIED_STYLE if record.about.kind == "transfer" else COPIED_CONTENT
    values = _values(record)
    found = measurements(_rows(record), record.features[MODEL], record.features[reference], values)
    return {
        name: Measurement(value, found[name].influence if name in found else None) for name, value in values.items()
    }


def _letter(place: int) -> str:
    """A to Z, then A1 to Z1, …."""
    turn, letter = divmod(place, len(ascii_uppercase))
    return f"{ascii_uppercase[letter]}{turn or ''}"


def _title(letter: str, run: EvaluatedRun) -> str:
    return f"{letter} ({run.name})"


def _rows(record: Record) -> pd.DataFrame:
    """The model's rows, in the order of the pairs."""
    rows = record.table[record.table["method"] == MODEL]
    return rows.sort_values("pair") if "pair" in rows else rows


def _values(record: Record) -> dict[str, float]:
    summary = record.summary[record.summary["method"] == MODEL]
    return dict(zip(summary["metric"], summary["value"], strict=True))


def _obstacle(one: About, two: About) -> str:
    """Why two evaluations can't be compared; "" where they can."""
    if one.kind != two.kind:
        return f"the one is of {_KINDS[one.kind]}, the other of {_KINDS[two.kind]}"
    if one.digest != two.digest:
        return "they were measured on different pictures, pairs or sizes, or by other networks; evaluate both alike"
    return ""


def _differences(one: EvaluatedRun, two: EvaluatedRun) -> list[Difference]:
    """Second minus first, for the metrics that both have and that mean the same in both."""
    found = []
    same_latents = bool(one.upstream) and one.upstream == two.upstream
    first, second = measured_in_record(one.record), measured_in_record(two.record)
    sharing = sharing_of(_rows(one.record))
    for metric in (metric for metric in first if metric in second):
        if metric.startswith(_IN_LATENTS) and not same_latents:
            continue
        value, low, high = difference(first[metric], second[metric], sharing)
        found.append(Difference(metric, first[metric].value, value, low, high, _verdict(metric, low, high)))
    n, width = one.record.features[MODEL].shape
    rests_on_few = f"fewer pictures ({n}) than features ({width})" if n < width else ""
    return [
        each._replace(caution=rests_on_few) if each.verdict and each.metric.startswith(_OF_SETS) else each
        for each in found
    ]


def _verdict(metric: str, low: float, high: float) -> Verdict:
    if np.isnan(low) or np.isnan(high):
        return ""
    if low <= 0 <= high:
        return "not told apart"
    return "better" if (low > 0) == larger_is_better(metric) else "worse"


def _sentence(first: str, second: str, found: Sequence[Difference], about: About, obstacle: str) -> str:
    """What the intervals say, metric by metric: nothing is concluded from their number."""
    if obstacle:
        return f"{second} and {first} can't be compared: {obstacle}."
    judged = [row for row in found if row.verdict]
    measured = f"{about.n} {UNITS[about.kind]}"
    if not judged:
        return f"{second} and {first} can't be told apart: {measured} are too few for an interval."
    on = {verdict: [row.metric for row in judged if row.verdict == verdict] for verdict in _PHRASES}
    parts = [f"{_PHRASES[verdict]} {', '.join(names)}" for verdict, names in on.items() if names]
    return f"{second} against {first}, on {measured}: {'; '.join(parts)}."


def _cautions(one: Record, two: Record, found: Sequence[Difference]) -> Iterator[str]:
    """What else to know of the differences that were found."""
    if not found:
        return
    n, width = one.features[MODEL].shape
    if warning := too_few_pictures(n, width, [each.metric for each in found if each.caution]):
        yield warning
    networks = [f"{each.about.network} and {each.about.features}" for each in (one, two)]
    if networks[0] != networks[1]:
        yield f"What else was measured is of other networks ({networks[0]}; {networks[1]}) and does not compare."


def _differing(parameters: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    names = dict.fromkeys(name for told in parameters.values() for name in told)
    rows = {name: [told.get(name, "") for told in parameters.values()] for name in names}
    differing = {name: values for name, values in rows.items() if len(set(values)) > 1}
    table = pd.DataFrame.from_dict(differing, orient="index", columns=list(parameters), dtype=object)
    return table.rename_axis("parameter")


def _metrics(records: Mapping[str, Record]) -> pd.DataFrame:
    parts = [r.summary[r.summary["method"] == MODEL].assign(run=letter) for letter, r in records.items()]
    return pd.concat(parts, ignore_index=True)[METRICS]
