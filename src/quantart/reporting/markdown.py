"""The evaluation in Markdown: tables, and in words where the model does not beat a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from quantart.evaluation.baselines import (
    ADAIN,
    COLOUR_MATCHED,
    CONTENT_DECODED,
    COPIED_CONTENT,
    COPIED_STYLE,
    MAGENTA,
    STYLE_VQGAN,
)
from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.set_distances import too_few_pictures
from quantart.evaluation.summary import Score, by_method, difference, sharing_of
from quantart.vocabulary.metrics import COMPOSITE_NAMES, FRECHET_NAMES, MODEL

TITLES = {
    MODEL: "the model",
    ADAIN: "AdaIN on the latents, untrained",
    CONTENT_DECODED: "content latents decoded as a painting",
    STYLE_VQGAN: "the photograph reconstructed by the style VQGAN",
    COLOUR_MATCHED: "the photograph with the painting's colour statistics",
    MAGENTA: "Magenta's arbitrary style transfer",
    COPIED_CONTENT: "the photograph itself",
    COPIED_STYLE: "the painting itself",
}


Verdict = Literal["beats it on", "does not beat it on", "cannot be told apart from it on"]
_PHRASES: tuple[Verdict, ...] = ("beats it on", "does not beat it on", "cannot be told apart from it on")


def verdicts(evaluation: EvaluationResult) -> dict[str, dict[str, Verdict]]:
    """How the model compares with each baseline on each distance: by baseline, then metric.

    Judged by the differences on the same pairs: not told apart where their 95 % interval holds 0.
    """
    model = evaluation.measured[MODEL]
    sharing = sharing_of(evaluation.table.loc[evaluation.table["method"] == MODEL])
    return {
        baseline: {
            metric: _verdict(*difference(measured[metric], model[metric], sharing)[1:])
            for metric in measured
            if metric in model and model[metric].influence is not None
        }
        for baseline, measured in evaluation.measured.items()
        if baseline != MODEL
    }


def _verdict(low: float, high: float) -> Verdict:
    if high < 0:
        return "beats it on"
    return "does not beat it on" if low > 0 else "cannot be told apart from it on"


def transfer_section(variant: str, evaluation: EvaluationResult) -> str:
    """A table of means, then a sentence on each baseline."""
    pairs = evaluation.table.loc[evaluation.table["method"] == MODEL]
    sentences = "\n".join(_sentence(baseline, found) for baseline, found in verdicts(evaluation).items())
    return f"""## Style transfer, {variant}

{len(pairs)} held-out pairs of {pairs["content"].nunique()} photographs and {pairs["style"].nunique()} paintings.
`perceptual` (or `lpips`), `cfsd` and `latent_content` are distances to the photograph, the others to the painting or,
`fd` and `kd`, of all pictures to all paintings; smaller is better. `usage` and `perplexity` tell how much of the style
codebook the pictures use. ± is half the bootstrap 95 % interval over photographs and paintings. What each
metric is: docs/evaluation.md.
{_warning(evaluation)}
{_table(evaluation.summary)}

{sentences}

Nothing can beat a copy in its distance to its own original, which is 0."""


def _warning(evaluation: EvaluationResult) -> str:
    """Beside Fréchet distances of too few pictures; empty where they are enough."""
    n, width = evaluation.features[MODEL].shape
    names = [name for name in evaluation.measured[MODEL] if name.startswith((*FRECHET_NAMES, *COMPOSITE_NAMES))]
    warning = too_few_pictures(n, width, names)
    return f"\n{warning}\n" if warning else ""


def reconstruction_section(evaluations: Mapping[str, EvaluationResult]) -> str:
    """A table of how well each domain's VQGAN reconstructs its held-out pictures."""
    scores = [score._replace(method=domain) for domain, e in evaluations.items() for score in e.summary]
    warnings = "".join(_warning(evaluation) for evaluation in evaluations.values())
    return (
        "## Reconstruction\n\n`psnr` in dB; of it, `ssim` and `usage` larger is better. "
        f"`delta_e` in CIELAB, where black to white is 100.\n{warnings}\n{_table(scores)}"
    )


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
        return f"{_number(score.value)} (no interval)"
    half = (score.high - score.low) / 2
    # what is 0 to rounding has an interval of rounding errors
    half = half if half > 1e-9 else 0.0
    return f"{_number(score.value)} ± {half:.2g}" if half < 99.5 else f"{_number(score.value)} ± {half:.0f}"


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
