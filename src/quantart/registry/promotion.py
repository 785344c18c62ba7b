"""The alias `champion` of a registered model: promotion through the gates, the way back, and the history of both.

Each move of the alias is a tag of its own on the registered model, so nothing is read, changed and written back. Of two
moves at once both are in the history, each with the champion that it saw, and the alias is where the later one put it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from mlflow import MlflowClient
from mlflow.entities.model_registry import RegisteredModel

from quantart.errors import UserError
from quantart.project import Project
from quantart.registry.gates import Check, check
from quantart.registry.versions import JUDGED_BY, JUDGED_ON, Version, chosen_version, open_registry

CHAMPION = "champion"
_TAG = f"{CHAMPION}.move."
_TIME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Move:
    """A move of the alias."""

    at: str  # time in UTC; unique, and the order of the history
    version: str  # the new champion
    before: str | None  # the champion until then; None: there was none
    undoes: tuple[str, ...] = ()  # the moves that it undid, by `at`; empty for a promotion

    def __str__(self) -> str:
        when = datetime.strptime(self.at, _TIME).replace(tzinfo=UTC)
        how = "restored" if self.undoes else "promoted"
        before = f"in place of version {self.before}" if self.before else "as the first"
        return f"{when:%Y-%m-%d %H:%M:%S} UTC  version {self.version} {how} {before}"


@dataclass(frozen=True)
class Promotion:
    """The outcome of `promote`."""

    version: Version
    champion: Version | None  # the one until then
    checks: Sequence[Check]  # one for each gate; empty where the version is the champion already
    move: Move | None  # None: the alias stayed where it was

    @property
    def refused(self) -> bool:
        return not all(check.passed for check in self.checks)

    def __str__(self) -> str:
        alias = f"{self.version.name}@{CHAMPION}"
        if self.move:
            before = f"version {self.move.before} was before it" if self.move.before else "there was none before"
            said = f"{self.version} is now {alias}; {before}"
        elif self.refused:
            failed = sum(not check.passed for check in self.checks)
            still = f"{alias} is still {self.champion}" if self.champion else f"there is still no {alias}"
            said = f"{self.version} is not promoted: {failed} of {len(self.checks)} gates failed; {still}"
        else:
            said = f"{self.version} is {alias} already"
        return "\n".join([*map(str, self.checks), said])


def promote(project: Project, wanted: str | None = None, name: str | None = None) -> Promotion:
    """Make a version the champion if its evaluation passes all gates of `promote` in `params.yaml`.

    Its tags `promoted.digest` and `promoted.pairs` then say which evaluation it was judged by. See `chosen_version` on
    `wanted`.

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
    if version.evaluation:  # noted before the alias moves: the run's own values change with its next evaluation
        for tag, value in {JUDGED_BY: version.evaluation.digest, JUDGED_ON: version.evaluation.n}.items():
            MlflowClient().set_model_version_tag(version.name, version.number, tag, str(value))
    return Promotion(version, champion, checks, move(registry.model, version.number))


def rollback(project: Project, name: str | None = None) -> Move:
    """Make the version that the champion replaced the champion again; each further call goes one promotion back.

    Deleted versions are passed over.

    Raises:
        UserError: there is no champion, or none before it.
    """
    registry = open_registry(project, name)
    champion = champion_of(registry.model)
    if champion is None:
        raise UserError(f"{registry.name} has no champion", "`quantart registry promote` makes one")
    existing = {version.number for version in registry.versions()}
    moves = history(registry.model)
    undone = {at for each in moves for at in each.undoes}
    left = [each for each in moves if not each.undoes and each.at not in undone]
    target, taken_back = champion, list[str]()
    while not taken_back or target not in existing:
        last = next((each for each in reversed(left) if each.version == target), None)
        if last is None or last.before is None:
            remedy = f"version {champion} is the champion, and no earlier one that still exists is known"
            raise UserError(f"{registry.name}: nothing to roll back to", remedy)
        left = left[: left.index(last)]
        taken_back.append(last.at)
        target = last.before
    made = Move(_now(), target, champion, tuple(taken_back))
    # in this order: moves that count as undone while their version stays champion would block the way back
    MlflowClient().set_registered_model_alias(registry.name, CHAMPION, target)
    _write_down(registry.name, made)
    return made


def champion_of(model: RegisteredModel) -> str | None:
    """The version that is champion now."""
    return str(model.aliases[CHAMPION]) if CHAMPION in model.aliases else None


def move(model: RegisteredModel, version: str) -> Move:
    """Make `version` the champion, and write down which one it replaces."""
    made = Move(_now(), version, champion_of(model))
    # in this order: if killed in between, it leaves a note on a version that is not champion, which is never looked up
    _write_down(model.name, made)
    MlflowClient().set_registered_model_alias(model.name, CHAMPION, version)
    return made


def history(model: RegisteredModel) -> list[Move]:
    """All moves that `promote` and `rollback` made, the oldest first."""
    moves: list[Move] = []
    for key in sorted(key for key in model.tags if key.startswith(_TAG)):
        at = key.removeprefix(_TAG)
        try:
            datetime.strptime(at, _TIME)
            said = json.loads(model.tags[key])
            moves.append(Move(at, said["version"], said["before"], tuple(said["undoes"])))
        except (ValueError, KeyError, TypeError):
            fault = f"{model.name}: its tag {key} is not what promote or rollback wrote"
            raise UserError(fault, "delete it") from None
    return moves


def _write_down(name: str, made: Move) -> None:
    said = {"version": made.version, "before": made.before, "undoes": made.undoes}
    MlflowClient().set_registered_model_tag(name, f"{_TAG}{made.at}", json.dumps(said))


def _now() -> str:
    return datetime.now(UTC).strftime(_TIME)
