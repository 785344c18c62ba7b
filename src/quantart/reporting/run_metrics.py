"""The names under which a tracked run holds its evaluation.

- `eval/<metric>`: the network itself;
- `eval_interval/<metric>_low` and `…_high`: the ends of its 95 % interval;
- `eval_baselines/<metric>.<baseline>`: the baselines.

MLflow shows the three groups as separate sections of charts, so the first one stays short. An evaluation with other
settings puts its name after the group's: `eval/a0.50_b1.00/<metric>`. A metric is NaN where an earlier evaluation
under the same prefix measured it and the latest one did not.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from quantart.evaluation.estimates import Estimate, Summary
from quantart.vocabulary.methods import MODEL
from quantart.vocabulary.metrics import METRICS

EVALUATION = "eval"
"""Prefix of metrics, tags and artifacts of an evaluation with the network's own settings."""

DIGEST = "/digest"
"""End of the names of tags that hold the digest of what was evaluated."""

VOTES = "votes/table.json"
"""The run's table of the votes on its pictures."""

_INTERVAL, _BASELINES = "eval_interval", "eval_baselines"


def count_name(prefix: str) -> str:
    """Name of the number of pairs or pictures."""
    return f"{prefix}/n"


def digest_name(prefix: str) -> str:
    """Name of the tag with the digest of what was evaluated."""
    return prefix + DIGEST


def logged_values(summary: Summary, prefix: str) -> dict[str, float]:
    """Names and values of the network's metrics, their intervals and the baselines' metrics; NaNs are left out.

    The prefix is `eval` or `eval/<setting>`.
    """
    setting = prefix.removeprefix(EVALUATION)
    values: dict[str, float] = {}
    for method, found in summary.items():
        for metric, each in found.items():
            if method == MODEL:
                values[f"{prefix}/{metric}"] = each.value
                values[f"{_INTERVAL}{setting}/{metric}_low"] = each.low
                values[f"{_INTERVAL}{setting}/{metric}_high"] = each.high
            else:
                values[f"{_BASELINES}{setting}/{metric}.{method}"] = each.value
    return {name: value for name, value in values.items() if not math.isnan(value)}


def outdated(known: Mapping[str, float], values: Mapping[str, float], prefix: str) -> list[str]:
    """Names of a run's `known` metrics that an earlier evaluation under `prefix` left and that are not among `values`.

    Metrics that are NaN were found outdated before and are left out.
    """
    setting = prefix.removeprefix(EVALUATION)
    groups = {prefix, _INTERVAL + setting, _BASELINES + setting}
    return [
        name
        for name, value in known.items()
        if name.rpartition("/")[0] in groups and name not in values and not math.isnan(value)
    ]


def measured_in(metrics: Mapping[str, float]) -> dict[str, Estimate]:
    """The network's metrics with its own settings, without names that only older versions logged and NaNs."""
    found = {}
    for name, value in sorted(metrics.items()):
        group, _, metric = name.rpartition("/")
        if group == EVALUATION and metric in METRICS and not math.isnan(value):
            low, high = (metrics.get(f"{_INTERVAL}/{metric}_{end}", math.nan) for end in ("low", "high"))
            found[metric] = Estimate(value, low, high)
    return found
