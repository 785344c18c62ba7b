"""Which version of a registered model is the champion: forward through the gates of `params.yaml`, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from quantart.errors import UserError
from quantart.evaluation.resampling import Estimate
from quantart.params.evaluation import PromoteParams
from quantart.project import Project
from quantart.registry.champion import Move, champion_of, move, restore
from quantart.registry.gates import Check, check_difference, check_limits
from quantart.registry.versions import JUDGED_BY, JUDGED_ON, Evaluation, Version, chosen_version, open_registry
from quantart.reporting.comparison.compare import Difference, EvaluatedRun, compare
from quantart.reporting.record import NEEDED, Record, read_record
from quantart.reporting.run_metrics import EVALUATION
from quantart.tracking.labels import upstream_of

FEWEST_PAIRS = 8
"""An evaluation on fewer pairs judges no version."""


@dataclass(frozen=True)
class Promotion:
    """What became of a wish to make a version the champion.

    Attributes:
        champion: the one until then.
        checks: a gate each; empty where the version is the champion already.
        move: None: the alias stayed where it was.
    """

    version: Version
    champion: Version | None
    checks: Sequence[Check]
    move: Move | None

    @property
    def refused(self) -> bool:
        return not all(check.passed for check in self.checks)

    def __str__(self) -> str:
        alias, number = f"{self.version.name}@champion", self.version.number
        if self.move:
            before = f"version {self.move.before} was before it" if self.move.before else "there was none before"
            said = f"version {number} is now {alias}; {before}"
        elif self.refused:
            failed = sum(not check.passed for check in self.checks)
            still = f"is still version {self.champion.number}" if self.champion else "is still nobody"
            said = f"version {number} is not promoted: {failed} of {len(self.checks)} gates failed; {alias} {still}"
        else:
            said = f"version {number} is {alias} already"
        return "\n".join([*map(str, self.checks), said])


def promote(project: Project, wanted: str | None = None, name: str | None = None) -> Promotion:
    """Make a version the champion if its evaluation passes all gates of `promote` in `params.yaml`.

    The version then has the tags `promoted.digest` and `promoted.pairs`: of the evaluation that it was judged by.

    Args:
        wanted: a version's number or an alias; default: see `chosen_version`.
        name: of the registered model; default: `export.name`.

    Raises:
        UserError: wrong parameters, no such version, or one that can't be judged; see `check`.
    """
    gates = project.params().promote
    registry = open_registry(project, name)
    version = chosen_version(project, registry, wanted)
    number = champion_of(registry.model)
    champion = None if number is None else registry.find(number)
    if version.number == number:
        return Promotion(version, champion, [], None)
    checks = check(version, champion, gates)
    if not all(each.passed for each in checks):
        return Promotion(version, champion, checks, None)
    _note_evaluation(version)  # before the alias moves: the run's own values change with the next evaluation
    return Promotion(version, champion, checks, move(registry.model, version.number))


def rollback(project: Project, name: str | None = None) -> Move:
    """Make the champion before the present one champion again.

    Raises:
        UserError: wrong parameters, no such model, or nothing to go back to.
    """
    registry = open_registry(project, name)
    return restore(registry.model, [version.number for version in registry.versions()])


def check(version: Version, champion: Version | None, gates: PromoteParams) -> list[Check]:
    """Hold a version's evaluation against the limits and, where there is a champion, against the champion's.

    Raises:
        UserError: one of the two has not been evaluated, not on the same pairs, on too few, on data that was not noted,
            or not with a metric of the gates.
    """
    evaluation = _evaluation(version, [limit.metric for limit in gates.parsed_limits])
    checks = check_limits(gates.parsed_limits, evaluation.measured)
    if champion is None or not gates.not_worse:
        return checks
    theirs = _evaluation(champion, gates.not_worse)
    ours = _evaluation(version, gates.not_worse)
    if ours.digest != theirs.digest:
        raise UserError(
            f"{_of(version)} was evaluated on {_data(ours)}, {_of(champion)}, the champion, on {_data(theirs)}; "
            f"evaluate both on the same: {_command(version)} and {_command(champion)}"
        )
    return checks + [_compared(each, champion) for each in _differences(champion, version, gates.not_worse)]


def _note_evaluation(version: Version) -> None:
    if version.evaluation is None:
        return
    for tag, value in {JUDGED_BY: version.evaluation.digest, JUDGED_ON: version.evaluation.n}.items():
        MlflowClient().set_model_version_tag(version.name, version.number, tag, str(value))


def _compared(found: Difference, champion: Version) -> Check:
    difference = Estimate(found.difference, found.low, found.high)
    return check_difference(found.metric, difference, found.verdict, _of(champion))


def _evaluation(version: Version, metrics: Sequence[str]) -> Evaluation:
    """A version's evaluation, which has these metrics."""
    if version.run_name is None:
        raise UserError(
            f"{_of(version)}: its training run {version.run_id or '(none named)'} is not in the tracking store, so "
            "there is no evaluation to judge it by"
        )
    if version.evaluation is None:
        raise UserError(f"{_of(version)} has not been evaluated; run {_command(version)} first")
    if version.evaluation.digest is None:
        raise UserError(
            f"{_of(version)} was evaluated on data that was not noted, so nobody can tell what it was judged by; run "
            f"{_command(version)} again"
        )
    if version.evaluation.n < FEWEST_PAIRS:
        raise UserError(
            f"{_of(version)} was evaluated on {version.evaluation.n} pairs, and needs at least {FEWEST_PAIRS} to be "
            f"judged; raise evaluate.pairs in params.yaml and run `dvc repro pair`, then {_command(version)}"
        )
    missing = [metric for metric in metrics if metric not in version.evaluation.measured]
    if missing:
        raise UserError(
            f"{_of(version)}: {', '.join(missing)}, which `promote` in params.yaml asks for, was not measured; "
            f"set the networks in `evaluate` to match and run {_command(version)}, or ask for another metric"
        )
    return version.evaluation


def _differences(champion: Version, version: Version, metrics: Sequence[str]) -> list[Difference]:
    """The version's values minus the champion's, as `quantart compare` judges them."""
    (pair,) = compare([_evaluated(champion), _evaluated(version)]).pairs
    found = {each.metric: each for each in pair.differences}
    missing = [metric for metric in metrics if metric not in found]
    if missing:
        raise UserError(f"{_of(version)} and the champion have no common {', '.join(missing)}: {pair.sentence}")
    return [found[metric] for metric in metrics]


def _evaluated(version: Version) -> EvaluatedRun:
    return EvaluatedRun(
        run_id=version.run_id,
        name=_of(version),
        started=version.created,
        parameters={},
        upstream=upstream_of(version.tags),
        record=_record(version),
    )


def _record(version: Version) -> Record:
    with TemporaryDirectory() as folder:
        try:
            # the pictures and the evaluations at other settings, which lie beside these, are not needed
            copies = [
                mlflow.artifacts.download_artifacts(
                    run_id=version.run_id, artifact_path=f"{EVALUATION}/{name}", dst_path=folder
                )
                for name in NEEDED
            ]
            return read_record(Path(copies[0]).parent)
        except (MlflowException, OSError, UserError) as error:
            text = " ".join(str(error).split())
            raise UserError(
                f"{_of(version)}: the record of its evaluation can't be read ({text}); run {_command(version)} again"
            ) from None


def _of(version: Version) -> str:
    return f"version {version.number}"


def _command(version: Version) -> str:
    return f"`quantart evaluate --run-id {version.run_id}`"


def _data(evaluation: Evaluation) -> str:
    return f"data {str(evaluation.digest)[:8]}"
