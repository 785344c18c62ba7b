"""The alias `champion` of a registered model, and its history.

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

CHAMPION = "champion"
_TAG = f"{CHAMPION}.move."
_TIME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True)
class Move:
    """A move of the alias.

    Attributes:
        at: time in UTC; unique, and the order of the history.
        version: the new champion.
        before: the champion until then; None: there was none.
        undoes: the moves that it undid, by `at`; empty for a promotion.
    """

    at: str
    version: str
    before: str | None
    undoes: tuple[str, ...] = ()

    def __str__(self) -> str:
        when = datetime.strptime(self.at, _TIME).replace(tzinfo=UTC)
        how = "restored" if self.undoes else "promoted"
        before = f"in place of version {self.before}" if self.before else "as the first"
        return f"{when:%Y-%m-%d %H:%M:%S} UTC  version {self.version} {how} {before}"


def history(model: RegisteredModel) -> list[Move]:
    """All moves that `move` and `restore` made, the oldest first."""
    noted = {key: text for key, text in model.tags.items() if key.startswith(_TAG)}
    return sorted((_read(model.name, *tag) for tag in noted.items()), key=lambda each: each.at)


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


def restore(model: RegisteredModel, existing: Sequence[str]) -> Move:
    """Make the version that the champion replaced the champion again; each further call goes one promotion back.

    Args:
        existing: the versions that exist; deleted ones are passed over.

    Raises:
        UserError: there is no champion, or none before it.
    """
    champion = champion_of(model)
    if champion is None:
        raise UserError(f"{model.name} has no champion", "`quantart registry promote` makes one")
    moves = history(model)
    undone = {at for each in moves for at in each.undoes}
    left = [each for each in moves if not each.undoes and each.at not in undone]
    taken_back: list[str] = []
    target: str | None = champion
    while True:
        last = next((each for each in reversed(left) if each.version == target), None)
        if last is None or last.before is None:
            raise UserError(
                f"{model.name}: nothing to roll back to",
                f"version {champion} is the champion, and no earlier one that still exists is known",
            )
        left = left[: left.index(last)]
        taken_back.append(last.at)
        target = last.before
        if target in existing:
            made = Move(_now(), target, champion, tuple(taken_back))
            # in this order: moves that count as undone while their version stays champion would block the way back
            MlflowClient().set_registered_model_alias(model.name, CHAMPION, target)
            _write_down(model.name, made)
            return made


def _write_down(name: str, made: Move) -> None:
    said = {"version": made.version, "before": made.before, "undoes": made.undoes}
    MlflowClient().set_registered_model_tag(name, f"{_TAG}{made.at}", json.dumps(said))


def _read(name: str, key: str, text: str) -> Move:
    at = key.removeprefix(_TAG)
    try:
        datetime.strptime(at, _TIME)
        said = json.loads(text)
        return Move(at, said["version"], said["before"], tuple(said["undoes"]))
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{name}: its tag {key} is not what promote or rollback wrote", "delete it") from None


def _now() -> str:
    return datetime.now(UTC).strftime(_TIME)
