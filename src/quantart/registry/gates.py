"""The gates before the alias `champion`: a version's evaluation against limits, and against the champion's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.exceptions import MlflowException

from quantart.errors import UserError, one_line
from quantart.evaluation.estimates import Estimate
from quantart.params.evaluation import PromoteParams
from quantart.registry.versions import Evaluation, Version
from quantart.registry.votes import FEWEST_PAIRS, preference
from quantart.reporting.comparison.compare import EvaluatedRun, compare
from quantart.reporting.record import NEEDED, read_record
from quantart.reporting.run_metrics import EVALUATION
from quantart.tracking.lineage import upstream_of
from quantart.vocabulary.metrics import Limit


@dataclass(frozen=True)
class Check:
    """The outcome of one gate."""

    gate: str  # as params.yaml writes it
    passed: bool
    figures: str  # what was measured, in words

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.gate}: {self.figures}"


def check(version: Version, champion: Version | None, gates: PromoteParams) -> list[Check]:
    """Check a version's evaluation against the limits and, where there is a champion, against the champion's.

    Raises:
        UserError: one of the two was not evaluated, or not on the same pairs, on too few, on data without a digest, or
            without a metric of the gates, or lacks votes that the gates ask for.
    """
    limits = gates.parsed_limits
    checks = check_limits(limits, _judged(version, [limit.metric for limit in limits]).measured)
    if champion is None:
        return checks
    if gates.not_worse:
        checks += _check_differences(version, champion, gates)
    if gates.least_win_rate is not None and version.run_id != champion.run_id:  # else it is the same network
        rate, votes = preference(version, champion)
        passed = rate.value >= gates.least_win_rate
        checks.append(Check(str(gates.votes), passed, f"chosen in {rate} of {votes} against {champion}"))
    return checks


def _check_differences(version: Version, champion: Version, gates: PromoteParams) -> list[Check]:
    data = [str(_judged(each, gates.not_worse).digest) for each in (champion, version)]
    if data[0] != data[1]:
        raise UserError(
            f"{version} was evaluated on data {data[1][:8]}, {champion}, the champion, on data {data[0][:8]}",
            f"evaluate both on the same: `{version.evaluate}` and `{champion.evaluate}`",
        )
    (pair,) = compare([_evaluated(champion), _evaluated(version)]).pairs
    found = {each.metric: each for each in pair.differences}
    if missing := [metric for metric in gates.not_worse if metric not in found]:
        raise UserError(f"{version} and the champion have no common {', '.join(missing)}: {pair.sentence}")
    return [
        check_difference(each.metric, Estimate(each.difference, each.low, each.high), each.verdict, str(champion))
        for each in (found[metric] for metric in gates.not_worse)
    ]


def check_limits(limits: Sequence[Limit], measured: Mapping[str, Estimate]) -> list[Check]:
    """Whether each measured value keeps its limit; its interval is shown, but does not count."""
    return [
        Check(str(limit), limit.holds(measured[limit.metric].value), f"measured {measured[limit.metric]}")
        for limit in limits
    ]


def check_difference(metric: str, difference: Estimate, verdict: str, champion: str) -> Check:
    """Whether a metric is no worse than the champion's, beyond noise.

    The difference is the candidate's value minus the champion's, on the same pairs. The verdict is that of the
    comparison, empty where there is no interval, which fails like `worse`.
    """
    sign = "+" if difference.value >= 0 else ""
    figures = f"{sign}{difference} against {champion}, pair by pair: {verdict or 'no interval'}"
    return Check(f"{metric} not worse than the champion", verdict in {"better", "not told apart"}, figures)


def _judged(version: Version, metrics: Sequence[str]) -> Evaluation:
    """A version's evaluation; `UserError` where it does not suffice to judge the version or lacks a metric."""
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


def _evaluated(version: Version) -> EvaluatedRun:
    """A version's run with the record of its evaluation."""
    with TemporaryDirectory() as folder:
        try:
            for name in NEEDED:  # not the whole folder: it also has pictures, and evaluations at other settings
                path = f"{EVALUATION}/{name}"
                copy = mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=path, dst_path=folder)
            record = read_record(Path(copy).parent)
        except (MlflowException, OSError, UserError) as error:
            fault = f"{version}: the record of its evaluation can't be read ({one_line(error)})"
            raise UserError(fault, f"run `{version.evaluate}` again") from None
    upstream = upstream_of(version.tags)
    return EvaluatedRun(version.run_id, str(version), version.created, parameters={}, upstream=upstream, record=record)
