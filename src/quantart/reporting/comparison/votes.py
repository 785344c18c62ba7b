"""Votes on the pictures of compared runs, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from quantart.data.votes import Vote, between
from quantart.evaluation.preference import agreement, strengths, win_rate
from quantart.vocabulary.methods import ADAIN, COLOUR_MATCHED, MAGENTA


def vote_sentences(runs: Mapping[str, str], votes: Sequence[Vote]) -> list[str]:
    """Who is preferred to whom, how strong each of more than two is, and whether voters agree.

    Args:
        runs: ids by letter.
        votes: any; those on pictures of other runs and votes that are there twice do not count.
    """
    named = {run_id: letter for letter, run_id in runs.items()}
    named |= {f"{ADAIN}@{run_id}": f"{ADAIN} of {letter}" for letter, run_id in runs.items()}
    named |= {name: name for name in (COLOUR_MATCHED, MAGENTA)}
    votes = [vote._replace(left=named[vote.left], right=named[vote.right]) for vote in between(votes, named)]
    there = [name for name in named.values() if any(name in vote.sides for vote in votes)]
    return [*_rates(there, votes), *_strengths(there, votes), *_agreement(votes)]


def _rates(names: Sequence[str], votes: Sequence[Vote]) -> Iterator[str]:
    for first, second in combinations(names, 2):
        if not (cast := between(votes, (first, second))):
            continue
        rate = win_rate(cast, first, second)
        pairs, voters = len({vote.question for vote in cast}), len({vote.voter for vote in cast})
        judged = "preferred" if rate.low > 0.5 else "not preferred" if rate.high < 0.5 else "not told apart"
        share = f"{rate.value:.0%} ({rate.low:.0%} to {rate.high:.0%})"
        yield (
            f"{second} against {first}, by eye: {judged}; chosen in {share} "
            f"of {_count(len(cast), 'vote')} on {_count(pairs, 'pair')} by {_count(voters, 'voter')}."
        )


def _strengths(names: Sequence[str], votes: Sequence[Vote]) -> Iterator[str]:
    found = strengths(votes, names) if len(names) > 2 else {}
    if len(found) > 2:
        shares = ", ".join(f"{name} in {share:.0%}" for name, share in found.items() if name != names[0])
        yield f"By all votes together (Bradley-Terry) chosen over {names[0]}: {shares}."


def _agreement(votes: Sequence[Vote]) -> Iterator[str]:
    if found := agreement(votes):
        cases = _count(found.n, "case")
        yield f"Two voters gave the same answer in {found.share:.0%} of {cases} ({found.chance:.0%} by chance)."


def _count(n: int, word: str) -> str:
    return f"{n} {word}{'' if n == 1 else 's'}"
