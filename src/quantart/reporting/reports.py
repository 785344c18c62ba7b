"""The files that an evaluation leaves for people, for `dvc metrics` and for `dvc plots`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from quantart.evaluation.estimates import Estimate, rows_of
from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import Verdict, difference, sharing_of, verdict
from quantart.images.arrays import write_image
from quantart.machine.whole import write_whole
from quantart.reporting.grids import transfer_grid
from quantart.reporting.painting import RULE, paints_or_tints
from quantart.reporting.words import NO_INTERVAL, depends_on_set_size, number, too_few_pictures
from quantart.vocabulary.methods import (
    ADAIN,
    COLOUR_MATCHED,
    CONTENT_DECODED,
    COPIED_CONTENT,
    COPIED_STYLE,
    MAGENTA,
    MODEL,
    REFINED,
    STYLE_VQGAN,
)
from quantart.vocabulary.metrics import FEW_HEADLINES, HEADLINES

_TITLES = {
    MODEL: "the model",
    REFINED: "the model's answer, refined for each pair",
    ADAIN: "AdaIN on the latents, untrained",
    CONTENT_DECODED: "content latents decoded as a painting",
    STYLE_VQGAN: "the photograph reconstructed by the style VQGAN",
    COLOUR_MATCHED: "the tinted photograph, with the painting's colour statistics",
    MAGENTA: "Magenta's arbitrary style transfer",
    COPIED_CONTENT: "the photograph itself",
    COPIED_STYLE: "the painting itself",
}
_PHRASES: dict[Verdict, str] = {
    "better": "beats it on",
    "worse": "does not beat it on",
    "not told apart": "cannot be told apart from it on",
}
_CSV: dict[str, Any] = {"index": False, "float_format": "%.6g"}


def write_reports(
    folder: Path,
    transfers: Mapping[str, EvaluationResult],
    reconstructions: Mapping[str, EvaluationResult],
    in_training: Mapping[str, str],
) -> dict[str, Any]:
    """Write what was measured into `folder`, which is made if absent.

    - `metrics.json`: the models' headline metrics, for `dvc metrics` and `dvc exp show`:
      `{variant: {metric: value, n}}` and `{reconstruction: {domain: {metric: value, n}}}`, with n pictures
    - `baselines.json`: the same for the baselines, on the same pairs: `{variant: {baseline: {metric: value, n}}}`
    - `summary.md`: the same in words, with intervals; `summary.csv`: a row for each of these values
    - `grids/<variant>.png`: content, style, output and AdaIN baseline of the first pairs
    - `plots/methods.csv`: a row for each method (the model by its variant's name), a column for each metric
    - `plots/<variant>.csv`: a row for each pair, a column for each metric of the model

    The results come by variant and by domain; `in_training` says by variant which of the networks that measure took
    part in its training. All values are returned: as in `metrics.json`, with every metric, and each variant's
    `baselines`.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    metrics: dict[str, Any] = {variant: _nested(result) for variant, result in transfers.items()}
    of_baselines = {variant: found["baselines"] for variant, found in metrics.items()}
    sections = [RULE] if transfers else []
    sections += [transfer_section(variant, result, in_training[variant]) for variant, result in transfers.items()]
    if reconstructions:
        metrics["reconstruction"] = {domain: _nested(result) for domain, result in reconstructions.items()}
        sections.append(reconstruction_section(reconstructions))
    for name, values in (("metrics", metrics), ("baselines", of_baselines)):
        _write(folder / f"{name}.json", json.dumps(headlines(values), indent=2, allow_nan=False) + "\n")
    _write(folder / "summary.md", "\n\n".join(["# Evaluation on held-out pictures", *sections]) + "\n")
    everything = {**transfers, **{f"reconstruction, {domain}": r for domain, r in reconstructions.items()}}
    tables = {name: result.summary_table() for name, result in everything.items()}
    _write(folder / "summary.csv", pd.concat(tables, names=["variant"]).reset_index("variant").to_csv(**_CSV))
    if transfers:
        _write_transfers(folder, transfers)
    return metrics


def _write_transfers(folder: Path, transfers: Mapping[str, EvaluationResult]) -> None:
    (folder / "grids").mkdir(exist_ok=True)
    rows = []
    for variant, result in transfers.items():
        write_image(folder / "grids" / f"{variant}.png", transfer_grid(list(result.samples.values())))
        _write(folder / "plots" / f"{variant}.csv", rows_of(result.table).to_csv(**_CSV))
        for method, found in result.summary.items():
            name = variant if method == MODEL else f"{method} ({variant})"
            rows.append({"method": name} | {metric: each.value for metric, each in found.items()})
    _write(folder / "plots" / "methods.csv", pd.DataFrame(rows).to_csv(**_CSV))


def headlines(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The `HEADLINES` and n among nested metrics, at any depth, without the baselines."""
    chosen: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            if name != "baselines":
                chosen[name] = headlines(value)
        elif name == "n" or name.startswith(HEADLINES):
            chosen[name] = value
    return chosen


def _nested(result: EvaluationResult) -> dict[str, Any]:
    """`{metric: value, n: pictures, baselines: {method: {metric: value, n: pictures}}}`."""
    values = {
        method: {metric: float(f"{each.value:.6g}") for metric, each in found.items()} | {"n": result.n}
        for method, found in result.summary.items()
    }
    model = values.pop(MODEL)
    return model | {"baselines": values} if values else model


def _write(path: Path, text: str) -> None:
    write_whole(path, text.encode())


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


def transfer_section(variant: str, result: EvaluationResult, in_training: str) -> str:
    """In words whether it paints, tables of means, then a sentence on each baseline; for `in_training` see above."""
    pairs = rows_of(result.table)
    rows = [(_TITLES[method], found, result.n) for method, found in result.summary.items()]
    sentences = "\n".join(_sentence(baseline, found) for baseline, found in verdicts(result).items())
    few, others = (
        [
            (title, {k: v for k, v in found.items() if k.startswith(FEW_HEADLINES) == headline}, n)
            for title, found, n in rows
        ]
        for headline in (True, False)
    )
    return f"""## Style transfer, {variant}

**The {variant} model {paints_or_tints(result.summary[MODEL], result.summary[COLOUR_MATCHED])}.**
{len(pairs)} held-out pairs of {pairs["content"].nunique()} photographs and {pairs["style"].nunique()} paintings.
Smaller is better. `texture` and `colour_rgb` are distances to the painting, `structure` is the distance to the
photograph. ± is half the bootstrap 95 % interval over photographs and paintings. {in_training}

{_table(few)}

`perceptual` (or `lpips`), `cfsd` and `latent_content` are distances to the photograph. `fd` and `kd` are distances of
all pictures to all paintings, and the others are distances to the painting. `usage` and `perplexity` say how much of
the style codebook the pictures use. docs/evaluation.md explains each metric.
{_warning(result)}
{_table(others)}

{sentences}

Nothing can beat a copy in its distance to its own original, which is 0."""


def reconstruction_section(results: Mapping[str, EvaluationResult]) -> str:
    """A table of how well the VQGANs reconstruct held-out pictures, by domain."""
    rows = [(domain, result.summary[MODEL], result.n) for domain, result in results.items()]
    warnings = "".join(_warning(result) for result in results.values())
    return (
        "## Reconstruction\n\n`psnr` is in dB. Larger is better for `psnr`, `ssim` and `usage`. "
        f"`delta_e` is in CIELAB, where black and white are 100 apart.\n{warnings}\n{_table(rows)}"
    )


def _warning(result: EvaluationResult) -> str:
    """On its own line; empty where there are enough pictures for a Fréchet distance."""
    warning = too_few_pictures(result.features[MODEL].shape, filter(depends_on_set_size, result.measured[MODEL]))
    return f"\n{warning}\n" if warning else ""


def _sentence(baseline: str, found: Mapping[str, Verdict]) -> str:
    metrics = {phrase: [f"`{m}`" for m in found if found[m] == verdict] for verdict, phrase in _PHRASES.items()}
    parts = [f"{phrase} {', '.join(names)}" for phrase, names in metrics.items() if names]
    return f"- Against {_TITLES[baseline]}: the model {'; '.join(parts)}."


def _table(rows: Sequence[tuple[str, Mapping[str, Estimate], int]]) -> str:
    metrics = list(dict.fromkeys(metric for _, found, _ in rows for metric in found))
    lines = [f"| | {' | '.join(metrics)} | n |", "|---" * (len(metrics) + 2) + "|"]
    for title, found, n in rows:
        cells = [_cell(found[metric]) if metric in found else "–" for metric in metrics]
        lines.append(f"| {title} | {' | '.join(cells)} | {n} |")
    return "\n".join(lines)


def _cell(found: Estimate) -> str:
    if not found.has_interval:
        return f"{number(found.value)} ({NO_INTERVAL})"
    half = (found.high - found.low) / 2
    # a value that is 0 to rounding has an interval of rounding errors
    half = half if half > 1e-9 else 0.0
    return f"{number(found.value)} ± {half:.2g}" if half < 99.5 else f"{number(found.value)} ± {half:.0f}"
