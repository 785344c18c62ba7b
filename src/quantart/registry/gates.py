"""The gates before the alias `champion`: from measured values to passed or failed, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from quantart.evaluation.resampling import Estimate
from quantart.vocabulary.limits import Limit


@dataclass(frozen=True)
class Check:
    """What became of one gate.

    Attributes:
        gate: as params.yaml has it.
        figures: what was measured, in words.
    """

    gate: str
    passed: bool
    figures: str

    def __str__(self) -> str:
        return f"{'passed' if self.passed else 'FAILED'}  {self.gate}: {self.figures}"


def check_limits(limits: Sequence[Limit], measured: Mapping[str, Estimate]) -> list[Check]:
    """Whether each measured value keeps its limit; the value decides, its interval is shown.

    Raises:
        KeyError: a limit is on a metric that was not measured.
    """
    return [
        Check(str(limit), limit.holds(measured[limit.metric].value), f"measured {measured[limit.metric]}")
        for limit in limits
    ]


def unjudged(variant: str, others: Collection[str]) -> str:
    """What of a package no gate looks at, in a sentence.

    Args:
        variant: the network that was evaluated, at its own alpha and beta 1.
        others: what else the package holds.
    """
    if not others:
        return "Measured, and judged by the gates, at beta = 1 alone."
    return (
        f"Measured, and judged by the gates, is the {variant} network alone, at beta = 1: neither the "
        f"{' nor the '.join(others)} one nor any alpha between."
    )


def check_difference(metric: str, difference: Estimate, verdict: str, champion: str) -> Check:
    """Whether a metric is no worse than the champion's, beyond noise.

    Args:
        difference: the candidate's value minus the champion's, on the same pairs.
        verdict: of the comparison: `better`, `worse`, `not told apart`, or empty where there is no interval; the
            last fails, like `worse`.
        champion: the version in words, e.g. `version 2`.
    """
    sign = "+" if difference.value >= 0 else ""
    figures = f"{sign}{difference} against {champion}, pair by pair: {verdict or 'no interval'}"
    return Check(f"{metric} not worse than the champion", verdict in {"better", "not told apart"}, figures)
