"""Making a version the champion if it passes the gates of `params.yaml`, and going back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlflow import MlflowClient

from quantart.project import Project
from quantart.registry.champion import Move, champion_of, move, restore
from quantart.registry.gates import Check, check
from quantart.registry.versions import JUDGED_BY, JUDGED_ON, Version, chosen_version, open_registry


@dataclass(frozen=True)
class Promotion:
    """The outcome of `promote`.

    Attributes:
        champion: the one until then.
        checks: one for each gate; empty where the version is the champion already.
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
        alias = f"{self.version.name}@champion"
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

    Its tags `promoted.digest` and `promoted.pairs` then say which evaluation it was judged by.

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
    if version.evaluation:  # noted before the alias moves: the run's own values change with its next evaluation
        for tag, value in {JUDGED_BY: version.evaluation.digest, JUDGED_ON: version.evaluation.n}.items():
            MlflowClient().set_model_version_tag(version.name, version.number, tag, str(value))
    return Promotion(version, champion, checks, move(registry.model, version.number))


def rollback(project: Project, name: str | None = None) -> Move:
    """Make the previous champion the champion again; see `restore`."""
    registry = open_registry(project, name)
    return restore(registry.model, [version.number for version in registry.versions()])
