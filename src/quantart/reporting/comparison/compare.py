"""Runs that were evaluated on the same pictures, side by side: what differs, and which is better beyond noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from string import ascii_uppercase
from typing import NamedTuple

import pandas as pd

from quantart.data.votes import Vote
from quantart.evaluation.estimates import Estimate, estimates_of, rows_of
from quantart.evaluation.summary import Measurement, Verdict, difference, measurements, sharing_of, verdict
from quantart.reporting.comparison.votes import vote_sentences
from quantart.reporting.painting import paints_or_tints, part_in_training
from quantart.reporting.record import About, Record
from quantart.reporting.words import UNITS, depends_on_set_size, too_few_pictures
from quantart.vocabulary.methods import COLOUR_MATCHED, COPIED_CONTENT, COPIED_STYLE, MODEL
from quantart.vocabulary.metrics import TEXTURE

_PHRASES: dict[Verdict, str] = {
    "better": "better beyond noise on",
    "worse": "worse beyond noise on",
    "not told apart": "not told apart on",
}
_KINDS = {"transfer": "style transfer", "reconstruction": "reconstruction"}


@dataclass(frozen=True)
class EvaluatedRun:
    """A tracked run and its evaluation."""

    run_id: str
    name: str
    started: datetime
    parameters: Mapping[str, str]
    """Of the run and of the runs that it builds on."""
    upstream: Mapping[str, str]
    """Ids of the runs that it builds on, by stage."""
    record: Record
    votes: Sequence[Vote] = ()


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
    """On the second run."""
    caution: str = ""
    """Why the verdict is weaker than its interval suggests; "" where it is not."""


class PairOfRuns(NamedTuple):
    """How the second run compares with the first, by their letters."""

    first: str
    second: str
    differences: list[Difference]
    """Empty where the two were not evaluated on the same pictures; without latent distances where the VQGANs differ."""
    sentence: str


@dataclass(frozen=True)
class Comparison:
    """What `compare` finds."""

    runs: Mapping[str, EvaluatedRun]
    """By letter; A is the first that was named."""
    parameters: pd.DataFrame
    """A row for each parameter that differs, a column for each letter; "" where a run lacks it."""
    metrics: pd.DataFrame
    """`run` (letter), `metric`, `value`, `low`, `high` (bootstrap 95 % interval, NaN where there is none), `n`."""
    pairs: list[PairOfRuns]
    hands: list[str]
    """A sentence on each run whose texture was measured: whether it paints or tints, and by whose judgement."""
    votes: list[str]
    """What people preferred, in sentences."""

    def by_metric(self) -> list[tuple[str, list[Estimate | None]]]:
        """Each metric with its estimate for each run, None where a run lacks it."""
        of_runs = [estimates_of(self.metrics[self.metrics["run"] == letter]) for letter in self.runs]
        return [(metric, [found.get(metric) for found in of_runs]) for metric in self.metrics["metric"].unique()]


def compare(runs: Sequence[EvaluatedRun]) -> Comparison:
    """Compare runs on the parameters that differ, on their metrics, and pair by pair on the same pictures.

    The interval of a difference comes from resampling photographs and paintings with the same draws for both runs, so
    what makes a pair hard for both of them cancels. Each interval is 95 % for its metric alone.
    """
    lettered = {_letter(place): run for place, run in enumerate(runs)}
    metrics = pd.concat([rows_of(run.record.summary).assign(run=letter) for letter, run in lettered.items()])
    return Comparison(
        runs=lettered,
        parameters=_differing_parameters(lettered),
        metrics=metrics[["run", "metric", *Estimate._fields, "n"]].reset_index(drop=True),
        pairs=[_compare_pair(*first, *second) for first, second in combinations(lettered.items(), 2)],
        hands=[sentence for letter, run in lettered.items() if (sentence := _hand(letter, run))],
        votes=vote_sentences(
            {letter: run.run_id for letter, run in lettered.items()}, [vote for run in runs for vote in run.votes]
        ),
    )


def measured_in_record(record: Record) -> dict[str, Measurement]:
    """The model's metrics with each pair's influence; usage and perplexity have none."""
    reference = COPIED_STYLE if record.about.kind == "transfer" else COPIED_CONTENT
    summary = rows_of(record.summary)
    values = dict(zip(summary["metric"], summary["value"], strict=True))
    found = measurements(_pairs(record), record.features[MODEL], record.features[reference], values)
    return {name: found.get(name, Measurement(value))._replace(value=value) for name, value in values.items()}


def _hand(letter: str, run: EvaluatedRun) -> str:
    model, tinted = (estimates_of(rows_of(run.record.summary, method)) for method in (MODEL, COLOUR_MATCHED))
    networks = [name.removeprefix(TEXTURE) for name in model if name.startswith(TEXTURE)]
    if not networks:
        return ""
    return f"{letter} ({run.name}) {paints_or_tints(model, tinted)}. {part_in_training(networks, run.parameters)}"


def _letter(place: int) -> str:
    """A to Z, then A1 to Z1, …."""
    turn, letter = divmod(place, len(ascii_uppercase))
    return f"{ascii_uppercase[letter]}{turn or ''}"


def _pairs(record: Record) -> pd.DataFrame:
    """The model's rows, in the order of the pairs."""
    rows = rows_of(record.table)
    return rows.sort_values("pair") if "pair" in rows else rows


def _compare_pair(first: str, one: EvaluatedRun, second: str, two: EvaluatedRun) -> PairOfRuns:
    names = f"{second} ({two.name})", f"{first} ({one.name})"
    about, other = one.record.about, two.record.about
    obstacle = ""
    if about.kind != other.kind:
        obstacle = f"one evaluates {_KINDS[about.kind]}, the other {_KINDS[other.kind]}"
    elif about.digest != other.digest:
        obstacle = "they were measured on different pictures, pairs or sizes, or by other networks; evaluate both alike"
    if obstacle:
        return PairOfRuns(first, second, [], f"{' and '.join(names)} can't be compared: {obstacle}.")
    found = _differences(one, two)
    sentences = [_sentence(*names, found, about), *_cautions(one.record, two.record, found)]
    return PairOfRuns(first, second, found, " ".join(sentences))


def _differences(one: EvaluatedRun, two: EvaluatedRun) -> list[Difference]:
    """For the metrics that both have and that mean the same in both."""
    same_latents = one.upstream and one.upstream == two.upstream  # each VQGAN has latents of its own
    first, second = measured_in_record(one.record), measured_in_record(two.record)
    sharing = sharing_of(_pairs(one.record))
    n, width = one.record.features[MODEL].shape
    found = []
    for metric in first:
        if metric not in second or (metric.startswith("latent_") and not same_latents):
            continue
        change = difference(first[metric], second[metric], sharing)
        judged = verdict(metric, change)
        weak = judged and n < width and depends_on_set_size(metric)
        caution = f"fewer pictures ({n}) than features ({width})" if weak else ""
        found.append(Difference(metric, first[metric].value, *change, judged, caution))
    return found


def _sentence(second: str, first: str, found: Sequence[Difference], about: About) -> str:
    """What the intervals say, metric by metric; their number proves nothing, so it is not given."""
    measured = f"{about.n} {UNITS[about.kind]}"
    on = {phrase: [row.metric for row in found if row.verdict == verdict] for verdict, phrase in _PHRASES.items()}
    parts = [f"{phrase} {', '.join(names)}" for phrase, names in on.items() if names]
    if not parts:
        return f"{second} and {first} can't be told apart: {measured} are too few for an interval."
    return f"{second} against {first}, on {measured}: {'; '.join(parts)}."


def _cautions(one: Record, two: Record, found: Sequence[Difference]) -> Iterator[str]:
    if not found:
        return
    if warning := too_few_pictures(one.features[MODEL].shape, [each.metric for each in found if each.caution]):
        yield warning
    networks = [f"{each.about.network} and {each.about.features}" for each in (one, two)]
    if networks[0] != networks[1]:
        yield f"The other metrics come from different networks ({networks[0]}; {networks[1]}) and can't be compared."


def _differing_parameters(runs: Mapping[str, EvaluatedRun]) -> pd.DataFrame:
    names = dict.fromkeys(name for run in runs.values() for name in run.parameters)
    rows = {name: [run.parameters.get(name, "") for run in runs.values()] for name in names}
    differing = {name: values for name, values in rows.items() if len(set(values)) > 1}
    table = pd.DataFrame.from_dict(differing, orient="index", columns=list(runs), dtype=object)
    return table.rename_axis("parameter")
