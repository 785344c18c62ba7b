from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from quantart.data.votes import Vote, Votes, between, read_votes
from quantart.errors import UserError


def vote(choice: str = "left", **changes: object) -> Vote:
    known = {"time": "2026-01-01T00:00:00+00:00", "voter": "é", "content": "a.jpg", "style": "b.jpg", "size": 256}
    return Vote(**(known | {"left": "one", "right": "two", "choice": choice} | changes))  # type: ignore[arg-type]


def test_each_vote_is_a_line_that_is_there_at_once_and_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "votes.jsonl"
    votes = Votes(file)
    assert votes.add(vote())
    assert read_votes(file.read_text(encoding="utf8"), file) == [vote()]
    assert votes.add(vote("equal", style="c.jpg"))
    assert Votes(file).cast == votes.cast == [vote(), vote("equal", style="c.jpg")]


def test_nobody_is_counted_twice_on_a_question_whichever_side_it_was(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "votes.jsonl")
    assert votes.add(vote())
    assert not Votes(votes.file).add(vote("right", left="two", right="one"))
    assert votes.add(vote(voter="another"))
    assert votes.add(vote(right="three"))
    assert len(votes.file.read_text(encoding="utf8").splitlines()) == 3


def test_a_line_that_was_cut_off_is_lost_alone(tmp_path: Path) -> None:
    votes = Votes(tmp_path / "votes.jsonl")
    votes.add(vote())
    votes.add(vote(style="c.jpg"))
    os.truncate(votes.file, votes.file.stat().st_size - 9)
    again = Votes(votes.file)
    assert again.cast == [vote()]
    again.add(vote(style="d.jpg"))
    assert Votes(votes.file).cast == [vote(), vote(style="d.jpg")]


@pytest.mark.parametrize("line", ['{"voter": "x"}', "[1]", "3", '{"choice": "up"}'])
def test_a_line_that_is_no_vote_is_named(line: str) -> None:
    with pytest.raises(UserError, match=r"votes: line 2: no vote: "):
        read_votes(f"\n{line}\n", "votes")


def test_a_choice_that_there_is_not_is_no_vote() -> None:
    with pytest.raises(UserError, match="no vote"):
        read_votes(Votes.line(vote("up")), "votes")


@pytest.mark.parametrize("link", [Path.symlink_to, Path.hardlink_to])
def test_a_vote_is_not_written_through_a_link(link: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """As DVC makes it of a file that it tracks."""
    cached, file = tmp_path / "cached", tmp_path / "votes.jsonl"
    Votes(cached).add(vote())
    before = cached.read_bytes()
    link(file, cached)
    assert Votes(file).add(vote(style="c.jpg"))
    assert cached.read_bytes() == before
    assert Votes(file).cast == [vote(), vote(style="c.jpg")]


def test_a_folder_that_can_not_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"votes.jsonl: the vote can't be written: No such file"):
        Votes(tmp_path / "none" / "votes.jsonl").add(vote())


def test_a_score_is_of_the_one_asked_about() -> None:
    assert [vote("left").score(name) for name in ("one", "two")] == [1.0, 0.0]
    assert [vote("right").score(name) for name in ("one", "two")] == [0.0, 1.0]
    assert vote("equal").score("one") == 0.5


def test_between_keeps_each_vote_once() -> None:
    votes = [vote(), vote(), vote(right="three")]
    assert between(votes, ["one", "two"]) == [vote()]
    assert between(votes, ["one", "two", "three"]) == [vote(), vote(right="three")]
