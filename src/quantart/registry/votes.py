"""The votes that were logged to runs, and what they say of a version against the champion."""

from __future__ import annotations

from mlflow.exceptions import MlflowException

from quantart.data.votes import Vote, between, read_votes
from quantart.errors import UserError, one_line
from quantart.evaluation.estimates import Estimate
from quantart.evaluation.preference import win_rate
from quantart.registry.versions import Version
from quantart.reporting.run_metrics import VOTES
from quantart.tracking.find import logged_table

FEWEST_PAIRS = 8  # an evaluation or votes on fewer judge no version


def votes_of(run_id: str, name: str) -> list[Vote]:
    """The votes on a run's pictures, if there are any; `name` is for the `UserError` where they can't be read."""
    try:
        return read_votes(logged_table(run_id, VOTES), f"{name}: {VOTES}")
    except (MlflowException, OSError, ValueError) as error:
        raise UserError(f"{name}: {VOTES} can't be read ({one_line(error)})") from None


def preference(version: Version, champion: Version) -> tuple[Estimate, str]:
    """How often the version was chosen over the champion, and of how many votes.

    Raises:
        UserError: they were compared on fewer than `FEWEST_PAIRS` pairs.
    """
    logged = [vote for each in (champion, version) for vote in votes_of(each.run_id, str(each))]
    votes = between(logged, (champion.run_id, version.run_id))
    pairs = len({(vote.content, vote.style) for vote in votes})
    if pairs < FEWEST_PAIRS:
        raise UserError(
            f"{version} and {champion}, the champion, were compared by eye on {pairs} pairs, and promote.votes needs "
            f"at least {FEWEST_PAIRS}",
            f"`quantart vote {version.run_id} {champion.run_id}` asks for votes",
        )
    return win_rate(votes, champion.run_id, version.run_id), f"{len(votes)} votes on {pairs} pairs"
