"""Votes on which of two pictures is the better painting: a file that grows by a line of JSON for each."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from quantart.errors import UserError
from quantart.machine.whole import write_whole

Choice = Literal["left", "right", "equal"]


class Vote(NamedTuple):
    """One voter's answer about one held-out pair; left and right are whose pictures were shown there."""

    time: str
    """UTC, ISO 8601."""
    voter: str
    content: str
    """Names of the photograph and the painting."""
    style: str
    left: str
    """Id of a run, or name of a baseline; one that runs make differently has `@` and the run's id behind it."""
    right: str
    choice: Choice
    size: int
    """Side in pixels of the pictures."""

    @property
    def sides(self) -> frozenset[str]:
        return frozenset((self.left, self.right))

    @property
    def question(self) -> tuple[str, str, frozenset[str]]:
        """What no voter is asked twice."""
        return self.content, self.style, self.sides

    def score(self, name: str) -> float:
        """1 if `name`, one of the two, was chosen, 0 if the other was, 0.5 if they were called equal."""
        if self.choice == "equal":
            return 0.5
        return float((self.left if self.choice == "left" else self.right) == name)


class Votes:
    """The votes in a file, and the way to add one that outlives a process that is killed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.cast = read_votes(file.read_text(encoding="utf8"), file) if file.exists() else []
        self._lock = threading.Lock()

    def add(self, vote: Vote) -> bool:
        """Append a vote and wait until it is on the disk; False, and nothing is added, if its voter has answered it."""
        with self._lock:
            if any(vote.voter == each.voter and vote.question == each.question for each in self.cast):
                return False
            try:
                if self.file.is_symlink() or (self.file.exists() and self.file.stat().st_nlink > 1):
                    write_whole(self.file, self.file.read_bytes())  # as after `dvc add`: never through a link
                with self.file.open("ab") as file:
                    if file.tell() and not self.file.read_bytes().endswith(b"\n"):
                        file.write(b"\n")  # a line that was cut off stays alone
                    file.write(self.line(vote).encode())
                    file.flush()
                    os.fsync(file.fileno())
            except OSError as error:
                raise UserError(f"{self.file}: the vote can't be written: {error.strerror}") from None
            self.cast.append(vote)
            return True

    @staticmethod
    def line(vote: Vote) -> str:
        return f"{json.dumps(vote._asdict(), ensure_ascii=False)}\n"


def read_votes(text: str, place: object) -> list[Vote]:
    """The votes in the lines of a text; a line that a full disk or a power cut left incomplete is passed over.

    Raises:
        UserError: a whole line is no vote; it says in which line of `place`.
    """
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            values = json.loads(line)
        except ValueError:
            continue
        whole = isinstance(values, dict) and values.keys() == set(Vote._fields)
        if not whole or values["choice"] not in get_args(Choice):
            raise UserError(f"{place}: line {number}: no vote: {line[:80]}", "remove the line, or restore the file")
        found.append(Vote(**values))
    return found


def between(votes: Iterable[Vote], names: Iterable[str]) -> list[Vote]:
    """The votes on pictures of two of these names, each once."""
    wanted = set(names)
    return list(dict.fromkeys(vote for vote in votes if vote.sides <= wanted))
