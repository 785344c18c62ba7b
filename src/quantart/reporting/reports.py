"""The files that an evaluation leaves for people, for `dvc metrics` and for `dvc plots`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import Score, by_method, rows_of
from quantart.images.write import write_image
from quantart.reporting.grids import transfer_grid
from quantart.reporting.markdown import reconstruction_section, transfer_section
from quantart.vocabulary.metrics import CONTENT_DISTANCES, HEADLINES, MODEL

_CSV: dict[str, Any] = {"index": False, "float_format": "%.6g"}


def write_reports(
    folder: Path, transfers: Mapping[str, EvaluationResult], reconstructions: Mapping[str, EvaluationResult]
) -> dict[str, Any]:
    """Write what was measured into `folder`, which is made if absent.

    - `metrics.json`: the models' headline metrics, for `dvc metrics` and `dvc exp show`:
      `{variant: {metric: value, n}}` and `{reconstruction: {domain: {metric: value, n}}}`, where n is the number of
      pictures behind the values
    - `baselines.json`: the same for the baselines, on the same pairs: `{variant: {baseline: {metric: value, n}}}`
    - `summary.md`: the same in words, with intervals; `summary.csv`: a row for each of these values
    - `grids/<variant>.png`: content, style, output and AdaIN baseline of the first pairs
    - `plots/methods.csv`: a row for each method (the model by its variant's name), a column for each metric
    - `plots/<variant>.csv`: a row for each pair, a column for each metric of the model
    - in both plots, `content_distance` repeats the perceptual distance, whose name depends on the network

    Args:
        transfers: by variant.
        reconstructions: by domain.

    Returns:
        All values: as in `metrics.json`, with every metric, and each variant's `baselines`.
    """
    (folder / "plots").mkdir(parents=True, exist_ok=True)
    metrics: dict[str, Any] = {variant: _nested(result.summary) for variant, result in transfers.items()}
    baselines = {variant: found["baselines"] for variant, found in metrics.items()}
    sections = [transfer_section(variant, result) for variant, result in transfers.items()]
    if reconstructions:
        metrics["reconstruction"] = {domain: _nested(result.summary) for domain, result in reconstructions.items()}
        sections.append(reconstruction_section(reconstructions))
    for name, values in (("metrics", metrics), ("baselines", baselines)):
        _write(folder / f"{name}.json", json.dumps(headlines(values), indent=2, allow_nan=False))
    _write(folder / "summary.md", "\n\n".join(["# Evaluation on held-out pictures", *sections]))
    everything = {**transfers, **{f"reconstruction, {domain}": r for domain, r in reconstructions.items()}}
    rows = [{"variant": name} | score._asdict() for name, result in everything.items() for score in result.summary]
    pd.DataFrame(rows).to_csv(folder / "summary.csv", **_CSV)
    if transfers:
        _write_transfers(folder, transfers)
    return metrics


def _write_transfers(folder: Path, transfers: Mapping[str, EvaluationResult]) -> None:
    (folder / "grids").mkdir(exist_ok=True)
    methods = []
    for variant, result in transfers.items():
        write_image(folder / "grids" / f"{variant}.png", transfer_grid(list(result.samples.values())))
        _write_plot(folder / "plots" / f"{variant}.csv", rows_of(result.table))
        for method, scores in by_method(result.summary).items():
            name = variant if method == MODEL else f"{method} ({variant})"
            methods.append({"method": name} | {metric: score.value for metric, score in scores.items()})
    _write_plot(folder / "plots" / "methods.csv", pd.DataFrame(methods))


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


def _write_plot(path: Path, frame: pd.DataFrame) -> None:
    (column,) = (name for name in frame.columns if str(name).startswith(CONTENT_DISTANCES))
    frame.assign(content_distance=frame[column]).to_csv(path, **_CSV)


def _nested(summary: Sequence[Score]) -> dict[str, Any]:
    """`{metric: value, n: pictures, baselines: {method: {metric: value, n: pictures}}}`."""
    values = {
        method: {metric: float(f"{score.value:.6g}") for metric, score in scores.items()}
        | {"n": next(iter(scores.values())).n}
        for method, scores in by_method(summary).items()
    }
    model = values.pop(MODEL)
    return model | {"baselines": values} if values else model


def _write(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf8")
