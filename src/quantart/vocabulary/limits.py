"""A bound on a metric, as it is written in the parameters: `gram_squeezenet1_1 <= 1.1`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from quantart.vocabulary.metrics import check_metric, larger_is_better

_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


@dataclass(frozen=True)
class Limit:
    """`metric <= bound` or, where `at_most` is false, `metric >= bound`."""

    metric: str
    at_most: bool
    bound: float

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.at_most else '>='} {self.bound:g}"


def parse_limit(text: str) -> Limit:
    """Read `gram_squeezenet1_1 <= 1.1`, or `usage >= 0.5` for a metric where larger is better; else `ValueError`."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a limit; write `metric <= number`, or `usage >= number`")
    limit = Limit(check_metric(match[1]), match[2] == "<=", float(match[3]))
    if limit.at_most == larger_is_better(limit.metric):
        better, sign = ("larger", ">=") if limit.at_most else ("smaller", "<=")
        raise ValueError(f"{text!r} would refuse good values: {better} {limit.metric} is better; use {sign}")
    return limit
