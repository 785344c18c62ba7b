"""Versions in a real model registry whose runs were evaluated as `quantart evaluate` would."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from numpy.typing import NDArray

from quantart.project import Project
from quantart.reporting.record import About, Record, write_record
from quantart.tracking.store import EXPERIMENT, configure
from quantart.tracking.writer import TrackedRun

ROOT = Path(__file__).parents[2]
STRUCTURE, TEXTURE, COLOUR = "structure_squeezenet1_1", "texture_squeezenet1_1", "colour_rgb"
PAIRS = 12
HARD = np.random.default_rng(0).normal(0, 0.5, PAIRS)
"""What makes a pair hard for every network."""


@contextmanager
def own_store(root: Path) -> Iterator[Project]:
    """A project with the shipped parameters, and MLflow on a store of its own in which nothing is yet."""
    shutil.copy(ROOT / "params.yaml", root)
    before = mlflow.get_tracking_uri()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
        configure(root)
        yield Project(root)
        mlflow.set_tracking_uri(before)


def values(structure: float = 1.2, texture: float = 0.8, colour: float = 0.04) -> dict[str, NDArray[np.float64]]:
    """Of each pair; the means are those given."""
    hard = HARD - HARD.mean()
    return {STRUCTURE: structure + hard, TEXTURE: texture + hard / 5, COLOUR: colour + hard / 100}


def evaluate(run_id: str, measured: Mapping[str, NDArray[np.float64]], digest: str = "ab" * 32) -> None:
    """Log an evaluation to a run, as the contract between evaluation and registry has it."""
    pairs = len(next(iter(measured.values())))
    table = pd.DataFrame({"method": "model", "pair": range(pairs), "content": "c", "style": "s", **measured})
    rows = [
        ("model", name, each.mean(), each.mean() - 0.1, each.mean() + 0.1, pairs) for name, each in measured.items()
    ]
    summary = pd.DataFrame(rows, columns=["method", "metric", "value", "low", "high", "n"])
    about = About("transfer", digest, pairs, "squeezenet1_1", "efficientnet_lite0", 32, 1.0, 1.0, "photos", "paintings")
    draw = np.random.default_rng(1)
    features = {method: draw.normal(size=(pairs, 3)).astype(np.float32) for method in ("model", "copied_style")}
    run = TrackedRun(run_id)
    with TemporaryDirectory() as folder:
        for _, name, value, low, high, n in rows:
            ends = {f"eval_interval/{name}_low": low, f"eval_interval/{name}_high": high}
            run.metrics({f"eval/{name}": value, "eval/n": n, **ends}, 0)
        run.metrics({f"eval_baselines/{TEXTURE}.adain": 7.0, f"eval/a0.50_b1.00/{TEXTURE}": 8.0}, 0)
        run.set_tags({"eval/digest": digest})
        write_record(Path(folder), Record(about, table, summary, features))
        run.artifact(Path(folder), "eval")


def add_version(
    name: str,
    measured: Mapping[str, NDArray[np.float64]] | None = None,
    *,
    digest: str = "ab" * 32,
    source: str = "file:///nowhere",
) -> str:
    """Register the network of a run of its own, evaluated where `measured` is given; the version's number.

    The registry does not look at `source` until somebody loads the model.
    """
    client = MlflowClient()
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None
    run_id = client.create_run(experiment.experiment_id, run_name="stage2_discrete").info.run_id
    client.set_terminated(run_id)
    if measured is not None:
        evaluate(run_id, measured, digest)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    version = client.create_model_version(name, source, run_id, tags={"variant": "discrete"})
    client.set_registered_model_alias(name, "challenger", version.version)
    return str(version.version)


def run_id_of(name: str, version: str) -> str:
    return str(MlflowClient().get_model_version(name, version).run_id)
