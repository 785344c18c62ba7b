"""What votes say: how often one is preferred to another, how strong each of several is, whether voters agree."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch

from quantart.data.votes import Vote
from quantart.evaluation.estimates import Estimate
from quantart.evaluation.resampling import Sharing, two_way_variance

Z = 1.96  # of a 95 % interval
ROUNDS, SETTLED = 10_000, 1e-10


class Agreement(NamedTuple):
    """How often two voters gave the same answer to the same question."""

    share: float
    chance: float
    """What it would be if each drew answers as often as all voters together gave them."""
    n: int
    """How many times two answers were compared."""


def win_rate(votes: Sequence[Vote], first: str, second: str) -> Estimate:
    """How often the second is preferred to the first, with a 95 % interval; equal counts half for each.

    Votes on one photograph or one painting resemble each other, so they count for fewer: Wilson's interval (J. Am.
    Stat. Assoc. 1927), of as many independent votes as have the variance of two-way clustering (see `resampling`).
    Where there is no variance, as when all votes are the same, it is of as many votes as there are different
    photographs, or paintings if they are fewer.

    Args:
        votes: at least one, all between these two.
    """
    scores = np.array([vote.score(second) for vote in votes])
    value = float(scores.mean())
    names = sorted({(vote.content, vote.style) for vote in votes})
    place = {name: number for number, name in enumerate(names)}
    of_pair = np.bincount(
        [place[vote.content, vote.style] for vote in votes], (scores - value) / len(votes), minlength=len(names)
    )
    sharing = Sharing.of(*zip(*names, strict=True))
    fewest = min(len(ids.unique()) if ids.max() > 0 else len(names) for ids in sharing)
    variance = two_way_variance(torch.from_numpy(of_pair), sharing) * fewest / max(fewest - 1, 1)
    n = min(value * (1 - value) / variance if variance > 1e-12 else fewest, len(votes))
    centre, spread = value + Z**2 / (2 * n), Z * math.sqrt(value * (1 - value) / n + (Z / (2 * n)) ** 2)
    low, high = ((centre + sign * spread) / (1 + Z**2 / n) for sign in (-1, 1))
    return Estimate(value, max(low, 0.0), min(high, 1.0))


def strengths(votes: Sequence[Vote], names: Sequence[str]) -> dict[str, float]:
    """By name, how likely each is preferred to the first, from all votes together (Bradley and Terry, Biometrika 1952).

    Equal counts half for each, and one equal vote is added between any two that were compared, so that who always won
    has a finite strength. Names that no chain of votes leads to from the first are left out.
    """
    wins = np.zeros((len(names), len(names)))
    for vote in votes:
        one, two = names.index(vote.left), names.index(vote.right)
        wins[one, two] += vote.score(vote.left)
        wins[two, one] += vote.score(vote.right)
    wins += 0.5 * (wins + wins.T > 0)
    reached = np.linalg.matrix_power(np.eye(len(names)) + (wins > 0), len(names))[0] > 0
    wins = wins[np.ix_(reached, reached)]
    strength = np.ones(len(wins))
    for _ in range(ROUNDS):  # Hunter's minorisation (Ann. Stat. 2004)
        before = strength
        strength = wins.sum(1) / ((wins + wins.T) / (strength[:, None] + strength)).sum(1)
        strength = strength / strength[0]
        if np.abs(np.log(strength / before)).max() < SETTLED:
            break
    kept = [name for name, there in zip(names, reached, strict=True) if there]
    return {name: float(value / (value + 1)) for name, value in zip(kept, strength, strict=True)}


def agreement(votes: Sequence[Vote]) -> Agreement | None:
    """Whether voters agree where several answered the same question; None where none was."""
    answers: defaultdict[object, dict[str, float]] = defaultdict(dict)
    for vote in votes:
        answers[vote.question][vote.voter] = vote.score(min(vote.sides))
    several = [list(given.values()) for given in answers.values() if len(given) > 1]
    twos = [two for given in several for two in combinations(given, 2)]
    if not twos:
        return None
    _, counts = np.unique([answer for given in several for answer in given], return_counts=True)
    chance = float(np.square(counts / counts.sum()).sum())
    return Agreement(sum(one == two for one, two in twos) / len(twos), chance, len(twos))
