"""The gates before the alias `champion`: a version's evaluation against limits, and against the champion's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.evaluation.resampling import Estimate
from quantart.params.evaluation import PromoteParams
from quantart.registry.versions import Evaluation, Version
from quantart.reporting.comparison.compare import EvaluatedRun, compare
from quantart.reporting.record import NEEDED, Record, read_record
from quantart.reporting.run_metrics import EVALUATION
from quantart.tracking.lineage import upstream_of
from quantart.vocabulary.limits import Limit

FEWEST_PAIRS = 8
"""An evaluation on fewer pairs judges no version."""


@dataclass(frozen=True)
class Check:
    """The outcome of one gate.

    Attributes:
        gate: as params.yaml writes it.
        figures: what was measured, in words.
    """

    gate: str
    passed: bool
    figures: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.gate}: {self.figures}"


def check(version: Version, champion: Version | None, gates: PromoteParams) -> list[Check]:
    """Check a version's evaluation against the limits and, where there is a champion, against the champion's.

    Raises:
        UserError: one of the two was not evaluated, or not on the same pairs, on too few, on data without a digest, or
            without a metric of the gates.
    """
    limits = gates.parsed_limits
    checks = check_limits(limits, _judged(version, [limit.metric for limit in limits]).measured)
    if champion is None or not gates.not_worse:
        return checks
    theirs, ours = _judged(champion, gates.not_worse), _judged(version, gates.not_worse)
    if ours.digest != theirs.digest:
        raise UserError(
            f"{version} was evaluated on data {_short(ours)}, {champion}, the champion, on data {_short(theirs)}",
            f"evaluate both on the same: `{version.evaluate}` and `{champion.evaluate}`",
        )
    return checks + _comparison(champion, version, gates.not_worse)


def check_limits(limits: Sequence[Limit], measured: Mapping[str, Estimate]) -> list[Check]:
    """Whether each measured value keeps its limit; its interval is shown, but does not count."""
    return [
        Check(str(limit), limit.holds(measured[limit.metric].value), f"measured {measured[limit.metric]}")
        for limit in limits
    ]


def check_difference(metric: str, difference: Estimate, verdict: str, champion: str) -> Check:
    """Whether a metric is no worse than the champion's, beyond noise.

    Args:
        difference: the candidate's value minus the champion's, on the same pairs.
        verdict: of the comparison: `better`, `worse`, `not told apart`, or empty where there is no interval, which
            fails like `worse`.
        champion: the version in words, e.g. `version 2`.
    """
    sign = "+" if difference.value >= 0 else ""
    figures = f"{sign}{difference} against {champion}, pair by pair: {verdict or 'no interval'}"
    return Check(f"{metric} not worse than the champion", verdict in {"better", "not told apart"}, figures)


def unjudged(variant: str, others: Collection[str]) -> str:
    """A sentence on what the gates do not look at in a package.

    Args:
        variant: the network that was evaluated, at its own alpha and beta 1.
        others: the other networks of the package.
    """
    if not others:
        return "Measured and judged by the gates at beta = 1 alone."
    return (
        f"Only the {variant} network was measured and judged by the gates, at beta = 1; the "
        f"{' and the '.join(others)} one and every alpha in between were not."
    )


def _judged(version: Version, metrics: Sequence[str]) -> Evaluation:
    """A version's evaluation, which can judge it and has these metrics."""
    evaluation, again = version.evaluation, f"run `{version.evaluate}` again"
    if version.run_name is None:
        raise UserError(
            f"{version}: its training run {version.run_id or '(none named)'} is not in the tracking store, so there is "
            "no evaluation to judge it by"
        )
    if evaluation is None:
        raise UserError(f"{version} has not been evaluated", f"run `{version.evaluate}` first")
    if evaluation.digest is None:
        raise UserError(f"{version} was evaluated on data whose digest was not logged, so it can't be compared", again)
    if evaluation.n < FEWEST_PAIRS:
        raise UserError(
            f"{version} was evaluated on {evaluation.n} pairs, and needs at least {FEWEST_PAIRS} to be judged",
            f"raise evaluate.pairs in params.yaml and run `dvc repro pair`, then `{version.evaluate}`",
        )
    if missing := [metric for metric in metrics if metric not in evaluation.measured]:
        raise UserError(
            f"{version}: {', '.join(missing)}, which `promote` in params.yaml names, was not measured",
            f"set the networks in `evaluate` to match and {again}, or name another metric",
        )
    return evaluation


def _comparison(champion: Version, version: Version, metrics: Sequence[str]) -> list[Check]:
    """Each metric of the version against the champion's, as `quantart compare` judges it."""
    (pair,) = compare([_evaluated(champion), _evaluated(version)]).pairs
    found = {each.metric: each for each in pair.differences}
    if missing := [metric for metric in metrics if metric not in found]:
        raise UserError(f"{version} and the champion have no common {', '.join(missing)}: {pair.sentence}")
    return [
        check_difference(each.metric, Estimate(each.difference, each.low, each.high), each.verdict, str(champion))
        for each in (found[metric] for metric in metrics)
    ]


def _evaluated(version: Version) -> EvaluatedRun:
    record, upstream = _record(version), upstream_of(version.tags)
    return EvaluatedRun(version.run_id, str(version), version.created, parameters={}, upstream=upstream, record=record)


def _record(version: Version) -> Record:
    with TemporaryDirectory() as folder:
        try:
            # not the whole folder: it also has pictures, and evaluations at other settings
            paths = [f"{EVALUATION}/{name}" for name in NEEDED]
            copies = [
                mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=path, dst_path=folder)
                for path in paths
            ]
            return read_record(Path(copies[0]).parent)
        except (MlflowException, OSError, UserError) as error:
            raise UserError(
                f"{version}: the record of its evaluation can't be read ({' '.join(str(error).split())})",
                f"run `{version.evaluate}` again",
            ) from None


def _short(evaluation: Evaluation) -> str:
    return str(evaluation.digest)[:8]
