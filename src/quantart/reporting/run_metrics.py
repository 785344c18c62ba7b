"""The names under which a tracked run holds its evaluation.

`eval/<metric>` of the network itself, `eval_interval/<metric>_low` and `…_high` the ends of its 95 % interval,
`eval_baselines/<metric>.<baseline>`: three groups of charts in MLflow's page, of which the first is short. An
evaluation under other settings has its name after the group's: `eval/a0.50_b1.00/<metric>`. What the latest evaluation
under a prefix did not measure, and one before it did, is NaN.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from quantart.evaluation.resampling import Estimate
from quantart.vocabulary.metrics import METRICS, MODEL

if TYPE_CHECKING:  # a served model reads these names, and has no networks to evaluate with
    from quantart.evaluation.summary import Score

EVALUATION = "eval"
"""Prefix of an evaluation at the network's own settings: of metrics, tags and artifacts."""

DIGEST = "/digest"
"""Ends the names of the tags with the digests of what was evaluated."""

_INTERVAL, _BASELINES = "eval_interval", "eval_baselines"
_N = "n"


def count_name(prefix: str) -> str:
    """Name of the number of pairs or pictures."""
    return f"{prefix}/{_N}"


def digest_name(prefix: str) -> str:
    """Name of the tag with the digest of what was evaluated."""
    return prefix + DIGEST


def logged_values(scores: Sequence[Score], prefix: str) -> dict[str, float]:
    """Names and values of the network's scores, their intervals and the baselines' scores, but for NaNs.

    Args:
        prefix: `eval` or `eval/<setting>`.
    """
    group = prefix.removeprefix(EVALUATION)
    values: dict[str, float] = {}
    for method, metric, value, low, high, _ in scores:
        if method != MODEL:
            values[f"{_BASELINES}{group}/{metric}.{method}"] = value
            continue
        values[f"{prefix}/{metric}"] = value
        values |= {f"{_INTERVAL}{group}/{metric}_{end}": v for end, v in (("low", low), ("high", high))}
    return {name: value for name, value in values.items() if not math.isnan(value)}


def outdated(known: Mapping[str, float], values: Mapping[str, float], prefix: str) -> list[str]:
    """Names of a run's metrics that an earlier evaluation under `prefix` left and that are not among `values`.

    Args:
        known: the run's metrics; NaNs are outdated already.
        values: what `logged_values` gives for the latest evaluation, and the count.
    """
    group = prefix.removeprefix(EVALUATION)
    folders = {prefix, _INTERVAL + group, _BASELINES + group}
    return [
        name
        for name, value in known.items()
        if name.rpartition("/")[0] in folders and name not in values and not math.isnan(value)
    ]


def measured_in(metrics: Mapping[str, float]) -> dict[str, Estimate]:
    """What a run's metrics say of the network at its own settings, by metric.

    Former names are left out, and NaNs: what the latest evaluation did not measure.
    """
    names = [
        name
        for name, value in sorted(metrics.items())
        if name.startswith(f"{EVALUATION}/") and name.count("/") == 1 and not math.isnan(value)
    ]
    plain = [name.removeprefix(f"{EVALUATION}/") for name in names]
    return {
        metric: Estimate(
            metrics[f"{EVALUATION}/{metric}"],
            *(metrics.get(f"{_INTERVAL}/{metric}_{end}", math.nan) for end in ("low", "high")),
        )
        for metric in plain
        if metric in METRICS
    }
