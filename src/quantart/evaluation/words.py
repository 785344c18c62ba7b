"""The evaluation in Markdown: tables, and in words where the model does not beat a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from quantart.evaluation.evaluate import Evaluation
from quantart.evaluation.rendering import COPIED_STYLE, MODEL, TITLES
from quantart.evaluation.resampling import interval
from quantart.evaluation.sets import too_few_pictures
from quantart.evaluation.summary import FRECHET_NAMES, KERNEL_NAMES, Score, by_method, resampled_scores

Verdict = Literal["beats it on", "does not beat it on", "cannot be told apart from it on"]
_PHRASES: tuple[Verdict, ...] = ("beats it on", "does not beat it on", "cannot be told apart from it on")


def verdicts(evaluation: Evaluation) -> dict[str, dict[str, Verdict]]:
    """How the model compares with each baseline on each distance: by baseline, then metric.

    Judged by the differences on the same pairs: not told apart where their 95 % interval holds 0.
    """
    scores = by_method(evaluation.summary)
    resampled = {method: _resampled(evaluation, method, own) for method, own in scores.items()}
    return {
        baseline: {
            metric: _verdict(resampled[MODEL][metric] - resampled[baseline][metric], scores[MODEL][metric], score)
            for metric, score in scores[baseline].items()
            if metric in resampled[MODEL]
        }
        for baseline in scores
        if baseline != MODEL
    }


def _resampled(evaluation: Evaluation, method: str, scores: Mapping[str, Score]) -> dict[str, Tensor]:
    rows = evaluation.table.loc[evaluation.table["method"] == method].sort_values("pair")
    return resampled_scores(rows, evaluation.features[method], evaluation.features[COPIED_STYLE], scores)


def _verdict(differences: Tensor, model: Score, baseline: Score) -> Verdict:
    low, high = interval(model.value - baseline.value, differences)
    if high < 0:
        return "beats it on"
    return "does not beat it on" if low > 0 else "cannot be told apart from it on"


def transfer_section(variant: str, evaluation: Evaluation) -> str:
    """A table of means, then a sentence on each baseline."""
    pairs = evaluation.table.loc[evaluation.table["method"] == MODEL]
    sentences = "\n".join(_sentence(baseline, found) for baseline, found in verdicts(evaluation).items())
    return f"""## Style transfer, {variant}

{len(pairs)} held-out pairs of {pairs["content"].nunique()} photographs and {pairs["style"].nunique()} paintings.
`perceptual` (or `lpips`), `cfsd` and `latent_content` are distances to the photograph, the others to the painting or,
`fd` and `kd`, of all pictures to all paintings; smaller is better. `usage` and `perplexity` tell how much of the style
codebook the pictures use. ± is half the bootstrap 95 % interval over pairs. What each metric is: docs/evaluation.md.
{_warning(evaluation)}
{_table(evaluation.summary)}

{sentences}

Nothing can beat a copy in its distance to its own original, which is 0."""


def _warning(evaluation: Evaluation) -> str:
    """Beside a Fréchet distance of too few pictures; empty where they are enough."""
    scores = by_method(evaluation.summary)[MODEL]
    frechet, kernel = (next(m for m in scores if m.startswith(names)) for names in (FRECHET_NAMES, KERNEL_NAMES))
    n, width = evaluation.features[MODEL].shape
    warning = too_few_pictures(n, width, frechet, kernel)
    return f"\n{warning}\n" if warning else ""


def reconstruction_section(summaries: Mapping[str, Sequence[Score]]) -> str:
    """A table of how well each domain's VQGAN reconstructs its held-out pictures."""
    scores = [score._replace(method=domain) for domain, summary in summaries.items() for score in summary]
    return f"## Reconstruction\n\nPSNR in dB, larger is better.\n\n{_table(scores)}"


def _sentence(baseline: str, found: Mapping[str, Verdict]) -> str:
    metrics = {phrase: [f"`{metric}`" for metric in found if found[metric] == phrase] for phrase in _PHRASES}
    parts = [f"{phrase} {', '.join(names)}" for phrase, names in metrics.items() if names]
    return f"- Against {TITLES[baseline]}: the model {'; '.join(parts)}."


def _table(summary: Sequence[Score]) -> str:
    metrics = list(dict.fromkeys(score.metric for score in summary))
    lines = [f"| | {' | '.join(metrics)} | n |", "|---" * (len(metrics) + 2) + "|"]
    for method, scores in by_method(summary).items():
        cells = [_cell(scores[metric]) if metric in scores else "–" for metric in metrics]
        n = next(iter(scores.values())).n
        lines.append(f"| {TITLES.get(method, method)} | {' | '.join(cells)} | {n} |")
    return "\n".join(lines)


def _cell(score: Score) -> str:
    if np.isnan(score.low):
        return _number(score.value)
    return f"{_number(score.value)} ± {(score.high - score.low) / 2:.2g}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
