from __future__ import annotations

from quantart.data.votes import Choice, Vote
from quantart.reporting.comparison.votes import vote_sentences


def cast(choice: Choice, count: int, left: str = "1" * 32, right: str = "2" * 32, voter: str = "x") -> list[Vote]:
    return [Vote("", voter, f"{n}.jpg", f"{n}.png", left, right, choice, 256) for n in range(count)]


RUNS = {"A": "1" * 32, "B": "2" * 32}


def test_one_sentence_says_who_is_preferred_and_how_sure_that_is() -> None:
    won, lost = cast("right", 30), cast("left", 40)[30:]
    (said,) = vote_sentences(RUNS, won + lost + won)
    assert said == ("B against A, by eye: preferred; chosen in 75% (60% to 86%) of 40 votes on 40 pairs by 1 voter.")
    assert "A, by eye: not preferred" in vote_sentences({"A": "2" * 32, "B": "1" * 32}, won + lost)[0]
    assert (
        "not told apart; chosen in 100% (21% to 100%) of 1 vote on 1 pair by 1 voter"
        in vote_sentences(RUNS, won[:1])[0]
    )


def test_more_than_two_have_strengths_and_baselines_their_names() -> None:
    third = cast("left", 10, right="magenta") + cast("left", 10, right=f"adain@{'1' * 32}")
    said = vote_sentences(RUNS, cast("right", 10) + third)
    assert [each.partition(":")[0] for each in said[:-1]] == [
        "B against A, by eye",
        "adain of A against A, by eye",
        "magenta against A, by eye",
    ]
    assert said[-1].startswith("By all votes together (Bradley-Terry) chosen over A: B in 9")


def test_two_voters_are_held_against_each_other() -> None:
    said = vote_sentences(RUNS, cast("right", 8) + cast("right", 8, voter="y"))
    assert "of 16 votes on 8 pairs by 2 voters" in said[0]
    assert said[1] == "Two voters gave the same answer in 100% of 8 cases (100% by chance)."


def test_votes_on_other_runs_do_not_count() -> None:
    assert vote_sentences(RUNS, cast("left", 5, right="3" * 32)) == []
    assert vote_sentences(RUNS, []) == []
