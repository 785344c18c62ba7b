"""An evaluation in Markdown: tables, and sentences on which baselines the model beats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import Score, Verdict, by_method, difference, rows_of, sharing_of, verdict
from quantart.reporting.words import NO_INTERVAL, TITLES, depends_on_set_size, number, too_few_pictures
from quantart.vocabulary.metrics import MODEL

_PHRASES: dict[Verdict, str] = {
    "better": "beats it on",
    "worse": "does not beat it on",
    "not told apart": "cannot be told apart from it on",
}


def verdicts(result: EvaluationResult) -> dict[str, dict[str, Verdict]]:
    """How the model compares with each baseline on the same pairs: by baseline, then metric.

    Metrics without an influence of each pair, such as `usage`, are left out.
    """
    model = result.measured[MODEL]
    sharing = sharing_of(rows_of(result.table))
    return {
        baseline: {
            metric: verdict(metric, difference(measured[metric], model[metric], sharing)) or "not told apart"
            for metric in measured
            if metric in model and model[metric].influence is not None
        }
        for baseline, measured in result.measured.items()
        if baseline != MODEL
    }


def transfer_section(variant: str, result: EvaluationResult) -> str:
    """A table of means, then a sentence on each baseline."""
    pairs = rows_of(result.table)
    sentences = "\n".join(_sentence(baseline, found) for baseline, found in verdicts(result).items())
    return f"""## Style transfer, {variant}

{len(pairs)} held-out pairs of {pairs["content"].nunique()} photographs and {pairs["style"].nunique()} paintings.
Smaller is better. `perceptual` (or `lpips`), `cfsd` and `latent_content` are distances to the photograph. `fd` and `kd`
are distances of all pictures to all paintings, and the others are distances to the painting. `usage` and `perplexity`
say how much of the style codebook the pictures use. ± is half the bootstrap 95 % interval over photographs and
paintings. docs/evaluation.md explains each metric.
{_warning(result)}
{_table(result.summary)}

{sentences}

Nothing can beat a copy in its distance to its own original, which is 0."""


def reconstruction_section(results: Mapping[str, EvaluationResult]) -> str:
    """A table of how well each domain's VQGAN reconstructs its held-out pictures."""
    scores = [score._replace(method=domain) for domain, result in results.items() for score in result.summary]
    warnings = "".join(_warning(result) for result in results.values())
    return (
        "## Reconstruction\n\n`psnr` is in dB. Larger is better for `psnr`, `ssim` and `usage`. "
        f"`delta_e` is in CIELAB, where black and white are 100 apart.\n{warnings}\n{_table(scores)}"
    )


def _warning(result: EvaluationResult) -> str:
    """On its own line; empty where there are enough pictures for a Fréchet distance."""
    warning = too_few_pictures(result.features[MODEL].shape, filter(depends_on_set_size, result.measured[MODEL]))
    return f"\n{warning}\n" if warning else ""


def _sentence(baseline: str, found: Mapping[str, Verdict]) -> str:
    metrics = {phrase: [f"`{m}`" for m in found if found[m] == verdict] for verdict, phrase in _PHRASES.items()}
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
        return f"{number(score.value)} ({NO_INTERVAL})"
    half = (score.high - score.low) / 2
    # a value that is 0 to rounding has an interval of rounding errors
    half = half if half > 1e-9 else 0.0
    return f"{number(score.value)} ± {half:.2g}" if half < 99.5 else f"{number(score.value)} ± {half:.0f}"
