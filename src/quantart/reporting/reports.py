"""The files that an evaluation leaves for people, for `dvc metrics` and for `dvc plots`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import Score, by_method
from quantart.images import write_image
from quantart.reporting.figures import transfer_grid
from quantart.reporting.markdown import reconstruction_section, transfer_section
from quantart.vocabulary.metrics import CONTENT_DISTANCES, HEADLINES, MODEL

_CSV: dict[str, Any] = {"index": False, "float_format": "%.6g"}


def write_reports(
    folder: Path, transfers: Mapping[str, EvaluationResult], reconstructions: Mapping[str, EvaluationResult]
) -> dict[str, Any]:
    """Write what was measured into `folder`, which is made if absent.

    - `metrics.json`: the models' headline metrics, for `dvc metrics` and `dvc exp show`:
      `{variant: {metric: value, n}}` and `{reconstruction: {domain: {metric: value, n}}}`, n being the number of
      pictures behind the values
    - `baselines.json`: the same of the baselines, on the same pairs: `{variant: {baseline: {metric: value, n}}}`
    - `summary.md`: the same with intervals, and in words; `summary.csv`: a row for each of these values
    - `grids/<variant>.png`: content, style, output and AdaIN baseline of the first pairs
    - `plots/methods.csv`: a row for each method (the model by its variant's name), a column for each metric
    - `plots/<variant>.csv`: a row for each pair, a column for each metric of the model
    - in both, `content_distance` repeats the perceptual distance, whose name depends on the network

    Args:
        transfers: by variant.
        reconstructions: by domain.

    Returns:
        All values: as in `metrics.json`, with every metric, and each variant's `baselines`.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    metrics: dict[str, Any] = {variant: _nested(evaluation.summary) for variant, evaluation in transfers.items()}
    baselines = {variant: found["baselines"] for variant, found in metrics.items()}
    if reconstructions:
        metrics["reconstruction"] = {domain: _nested(e.summary) for domain, e in reconstructions.items()}
    _write(folder / "metrics.json", json.dumps(headlines(metrics), indent=2, allow_nan=False))
    _write(folder / "baselines.json", json.dumps(headlines(baselines), indent=2, allow_nan=False))
    sections = [transfer_section(variant, evaluation) for variant, evaluation in transfers.items()]
    if reconstructions:
        sections.append(reconstruction_section(reconstructions))
    _write(folder / "summary.md", "\n\n".join(["# Evaluation on held-out pictures", *sections]))
    everything = {**transfers, **{f"reconstruction, {domain}": e for domain, e in reconstructions.items()}}
    scores = {name: pd.DataFrame(evaluation.summary) for name, evaluation in everything.items()}
    _stacked(scores).to_csv(folder / "summary.csv", **_CSV)
    if transfers:
        _write_transfers(folder, transfers)
    return metrics


def _write_transfers(folder: Path, transfers: Mapping[str, EvaluationResult]) -> None:
    (folder / "grids").mkdir(exist_ok=True)
    for variant, evaluation in transfers.items():
        write_image(folder / "grids" / f"{variant}.png", transfer_grid(list(evaluation.samples.values())))
    rows = [
        {"method": variant if method == MODEL else f"{method} ({variant})"} | {m: s.value for m, s in scores.items()}
        for variant, evaluation in transfers.items()
        for method, scores in by_method(evaluation.summary).items()
    ]
    _with_content_distance(pd.DataFrame(rows)).to_csv(folder / "plots" / "methods.csv", **_CSV)
    for variant, evaluation in transfers.items():
        pairs = evaluation.table.loc[evaluation.table["method"] == MODEL]
        _with_content_distance(pairs).to_csv(folder / "plots" / f"{variant}.csv", **_CSV)


def headlines(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The `HEADLINES` and n among nested metrics, at any depth; baselines are left out."""
    chosen: dict[str, Any] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            if name != "baselines":
                chosen[name] = headlines(value)
        elif name == "n" or name.startswith(HEADLINES):
            chosen[name] = value
    return chosen


def _with_content_distance(frame: pd.DataFrame) -> pd.DataFrame:
    (column,) = (name for name in frame.columns if str(name).startswith(CONTENT_DISTANCES))
    return frame.assign(content_distance=frame[column])


def _nested(summary: Sequence[Score]) -> dict[str, Any]:
    """`{metric: value, n: pictures, baselines: {method: {metric: value, n: pictures}}}`."""
    values = {
        method: {metric: float(f"{score.value:.6g}") for metric, score in scores.items()}
        | {"n": next(iter(scores.values())).n}
        for method, scores in by_method(summary).items()
    }
    model = values.pop(MODEL)
    return model | {"baselines": values} if values else model


def _stacked(frames: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One frame under the other, with the column `variant` before the others."""
    parts = [frame.assign(variant=variant)[["variant", *frame.columns]] for variant, frame in frames.items()]
    return pd.concat(parts, ignore_index=True)


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf8")
