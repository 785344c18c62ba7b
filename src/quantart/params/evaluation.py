"""`evaluate`, `export` and `promote`: what is measured, what is registered, what may become the champion."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from quantart.params.section import Count, Section, Step
from quantart.vocabulary.metrics import Limit, check_metric, larger_is_better, parse_limit
from quantart.vocabulary.names import FeatureNetworkName, PerceptualNetworkName, Variant


class EvaluateParams(Section):
    network: PerceptualNetworkName = "squeezenet1_1"
    """network of the distances within pairs: texture, structure, content, Gram, CFSD"""
    features: FeatureNetworkName = "efficientnet_lite0"
    """network of the distances between sets of pictures: Fréchet, kernel; a second judge of texture and structure,
    unless it is inception_v3"""
    pairs: int = Field(ge=2)
    """number of held-out (photograph, painting) pairs, drawn by the seed"""
    size: int = Field(256, ge=32)
    """side in pixels of the squares that pairs are judged at; made from the original pictures if larger than stored"""
    batch_size: Count = 8
    magenta: bool = False
    """add Magenta's network as a baseline; needs quantart[magenta]"""
    refine: Step = 0
    """steps that refine the network's answer for each pair, as one more method; 0: leave it out"""


class ExportParams(Section):
    variant: Variant = "discrete"
    name: str = Field("quantart", min_length=1)
    """name in the model registry"""


_VOTES = re.compile(r"win_rate >= (0\.\d+|1|0) against champion")


class PromoteParams(Section):
    """What a registered version's evaluation must show before the alias `champion` moves to it."""

    limits: list[str]
    """limits on the version's own values: `metric <= number`, or `usage >= number` where larger is better"""
    not_worse: list[str]
    """distances that must not exceed the champion's by more than noise, on the same pairs"""

    votes: str | None = None
    """`win_rate >= number against champion`: how often `quantart vote` must have it chosen over the champion's run"""

    @property
    def least_win_rate(self) -> float | None:
        found = _VOTES.fullmatch(self.votes or "")
        return float(found[1]) if found else None

    @property
    def parsed_limits(self) -> list[Limit]:
        return [parse_limit(text) for text in self.limits]

    @model_validator(mode="after")
    def _check_metrics(self) -> PromoteParams:
        for text in self.limits:
            parse_limit(text)
        for metric in self.not_worse:
            if larger_is_better(check_metric(metric)):
                raise ValueError(f"not_worse: {metric} is a single value without an interval; move it to limits")
        if self.votes is not None and self.least_win_rate is None:
            raise ValueError(f"votes: {self.votes!r}; write `win_rate >= 0.5 against champion`, with 0 to 1, or null")
        return self
