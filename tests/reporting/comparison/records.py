"""Records of evaluations with numbers that a test chooses."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quantart.images.arrays import Picture
from quantart.reporting.comparison.compare import Comparison, EvaluatedRun, compare
from quantart.reporting.record import About, Record

PAIRS = 24
UPSTREAM = {"stage1_content": "c0", "stage1_style": "50"}


def painting(shade: int) -> Picture:
    return np.full((32, 32, 3), shade, np.uint8)


def record(
    shift: float = 0.0,
    *,
    noise: float = 0.0,
    seed: int = 1,
    data: str = "one",
    kind: Literal["transfer", "reconstruction"] = "transfer",
    content: str = "photo.jpg",
    n: int = PAIRS,
) -> Record:
    """`shift` is added to every pair's distance and to every feature; pairs differ by far more than it."""
    pairs = np.random.default_rng(0)
    hardness, paintings = pairs.uniform(1, 9, n), pairs.normal(size=(n, 4))
    own = np.random.default_rng(seed)
    distance = hardness + shift + noise * own.normal(size=n)
    values: dict[str, Any] = {"perceptual_net": distance, "latent_style": distance / 10, "ssim": 1 - distance / 20}
    about: dict[str, Any] = {
        "pair": range(n),
        "content": [f"{i}_{content}" for i in range(n)],
        "style": [f"{i}_painting.png" for i in range(n)],
    }
    if kind == "reconstruction":
        about = {"file": [f"{i}_{content}" for i in range(n)]}
    table = pd.DataFrame({"method": "model", **about, **values})
    features = {
        "model": (paintings + 1 + shift + 0.1 * own.normal(size=(n, 4))).astype(np.float32),
        "copied_style" if kind == "transfer" else "copied_content": paintings.astype(np.float32),
    }
    shown = {"copied_content": painting(20), "copied_style": painting(90), "adain": painting(150)}
    return Record(
        About(
            kind, hashlib.sha256(data.encode()).hexdigest(), n, "net", "feat", 32, 1.0, 1.0, "data/photos", "data/art"
        ),
        table,
        _summary(values, n),
        features,
        {pair: shown | {"model": painting(200 + seed)} for pair in range(2)},
    )


def _summary(values: dict[str, NDArray[np.float64]], n: int) -> pd.DataFrame:
    means = {name: float(np.mean(column)) for name, column in values.items()}
    rows = [("model", name, mean, mean - 1, mean + 1, n) for name, mean in means.items()]
    rows += [("model", "fd_feat", 4.0, 3.0, 5.0, n), ("model", "composite_net_feat", 30.0, 20.0, 40.0, n)]
    rows += [("model", "usage", 0.5, np.nan, np.nan, n)]
    rows += [("adain", "perceptual_net", 3.0, 2.0, 4.0, n)]
    return pd.DataFrame(rows, columns=["method", "metric", "value", "low", "high", "n"])


def textured(texture: float) -> Record:
    """A record in which the model and the tinted photograph, whose texture is 1, have textures."""
    measured = record()
    rows = [("model", texture, texture - 0.01, texture + 0.01), ("colour_matched", 1.0, 0.95, 1.05)]
    textures = pd.DataFrame(rows, columns=["method", "value", "low", "high"]).assign(metric="texture_net", n=PAIRS)
    return replace(measured, summary=pd.concat([textures, measured.summary]))


def evaluated(name: str, measured: Record, upstream: dict[str, str] | None = None, **parameters: str) -> EvaluatedRun:
    run_id = hashlib.md5(name.encode()).hexdigest()
    started = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    return EvaluatedRun(run_id, name, started, parameters, UPSTREAM if upstream is None else upstream, measured)


def comparison(*, evil: str = "") -> Comparison:
    one = record(content=f"{evil}photo.jpg")
    return compare([evaluated(f"one{evil}", one, lr=f"1e-3{evil}"), evaluated("=two", record(0.2, seed=2), lr="2e-3")])
