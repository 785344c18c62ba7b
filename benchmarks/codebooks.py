"""How the choices under `stage1.quantizer` compare: the table in docs/codebooks.md.

Trains the VQGAN of both domains (the pipeline's stage `stage1_base`, with the sizes of params.yaml) once per choice and
seed, in one project folder each, through the same commands that a user has; evaluates it on the held-out pictures; and
prints means over the seeds with their largest deviation. Finished runs are kept, so that it goes on where it stopped.

    python benchmarks/codebooks.py --content PHOTOS --style PAINTINGS --out FOLDER [--steps 800] [--seeds 3] [--jobs 2]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from quantart.params.file import read_mapping

ROOT = Path(__file__).parents[1]
KMEANS_AT = 200  # steps after which k-means sets the codebook, where it does

REFERENCE = {"update": "gradient", "legacy": True, "cosine": False, "rotation": False}
GRADIENT = {**REFERENCE, "legacy": False}
EMA = {**GRADIENT, "update": "ema"}
CHOICES: dict[str, tuple[int, dict[str, Any]]] = {  # name: (quantize_from, stage1.quantizer)
    "gradient, legacy (the reference)": (0, REFERENCE),
    "gradient, corrected": (0, GRADIENT),
    "gradient, k-means": (KMEANS_AT, GRADIENT),
    "gradient, k-means, rotation": (KMEANS_AT, {**GRADIENT, "rotation": True}),
    "gradient, k-means, cosine": (KMEANS_AT, {**GRADIENT, "cosine": True}),
    "EMA, k-means, no revival": (KMEANS_AT, {**EMA, "revive_below": 0.0}),
    "EMA, k-means, revival (default)": (KMEANS_AT, EMA),
    "EMA, k-means, revival, rotation": (KMEANS_AT, {**EMA, "rotation": True}),
    "EMA, k-means, revival, cosine": (KMEANS_AT, {**EMA, "cosine": True}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--content", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--style", type=Path, required=True, help="folder of paintings")
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="runs at a time, a thread each")
    given = parser.parse_args()
    out = given.out.resolve()
    prepared = project(out / "prepared", parameters(given, seed=0, quantize_from=0, quantizer=EMA))
    if not (prepared / "data" / "prepared").is_dir():
        for domain in ("content", "style"):
            quantart(prepared, "prepare", "--domain", domain)

    def one(job: tuple[int, str]) -> dict[str, Any]:
        seed, name = job
        quantize_from, quantizer = CHOICES[name]
        folder = project(out / f"{name}, seed {seed}", parameters(given, seed, quantize_from, quantizer))
        return {"choice": name, "seed": seed, **measured(folder, prepared / "data" / "prepared")}

    with ThreadPoolExecutor(given.jobs) as pool:
        rows = pd.DataFrame(pool.map(one, product(range(given.seeds), CHOICES)))
    rows.to_csv(out / "codebooks.csv", index=False)
    print(table(rows))


def parameters(given: argparse.Namespace, seed: int, quantize_from: int, quantizer: dict[str, Any]) -> dict[str, Any]:
    """The default's parameters with the choice in them."""
    params = read_mapping(ROOT / "params.yaml")
    params["seed"] = seed
    params["data"] |= {"content": str(given.content.resolve()), "style": str(given.style.resolve())}
    interval = given.steps // 2
    params["stage1"]["base"] |= {"steps": given.steps, "quantize_from": quantize_from, "validate_every": interval}
    params["stage1"]["base"] |= {"log_every": interval // 10, "checkpoint_every": interval // 10 * 10}
    params["stage1"]["quantizer"] |= quantizer
    return params


def project(folder: Path, params: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf8")
    return folder


def measured(folder: Path, prepared: Path) -> dict[str, Any]:
    """Train and evaluate in a project's folder, unless that was done, and read what the evaluation found."""
    link = folder / "runs" / "stage1_base.json"
    if not (folder / "data" / "prepared").exists():
        shutil.copytree(prepared, folder / "data" / "prepared", copy_function=os.link)
    if not link.exists():
        quantart(folder, "train", "stage1", "--domain", "base")
    run_id = json.loads(link.read_text(encoding="utf8"))["run_id"]
    report = folder / "reports" / "runs" / run_id / "metrics.json"
    if not report.exists():
        quantart(folder, "evaluate", "--run-id", run_id)
    found = json.loads(report.read_text(encoding="utf8"))["reconstruction"]
    return {f"{domain} {metric}": value for domain in found for metric, value in found[domain].items()}


def quantart(folder: Path, *command: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "QUANTART_PROJECT": str(folder)}
    environment["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder.parent / 'mlflow.db'}"
    log = folder / f"{command[0]}.log"
    with log.open("w", encoding="utf8") as file:
        arguments = [sys.executable, "-m", "quantart_cli", *command]
        if subprocess.run(arguments, cwd=folder, env=environment, stdout=file, stderr=file).returncode:
            raise SystemExit(f"{' '.join(command)} failed in {folder}: see {log}")


def table(rows: pd.DataFrame) -> str:
    """Markdown: a row for each choice, `mean ± largest deviation over the seeds`."""
    metrics = [column for column in rows.columns if column not in {"choice", "seed"} and not column.endswith(" n")]
    lines = ["| choice | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    for choice, group in rows.groupby("choice", sort=False):
        cells = [f"{group[m].mean():.4g} ± {(group[m] - group[m].mean()).abs().max():.2g}" for m in metrics]
        lines.append(f"| {choice} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
