"""The files of an evaluation, from which any two evaluations can be compared later.

A record is a folder with

- `about.json`: what was evaluated, on which pictures (`About`), and the methods of `pictures/`;
- `table.parquet`: a row for each method and pair (or picture), with its metrics;
- `summary.csv`: `method, metric, value, low, high, n`;
- `features.safetensors`: by method `(n, d)`, a row for each pair: what the Fréchet and kernel distances compare;
- `pictures/<pair>.png`: the first pairs, what the methods painted side by side.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from quantart.errors import UserError
from quantart.images.arrays import Picture, write_image
from quantart.images.decode import read_image

ABOUT, TABLE, SUMMARY = "about.json", "table.parquet", "summary.csv"
FEATURES, PICTURES = "features.safetensors", "pictures"
NEEDED = (ABOUT, TABLE, SUMMARY, FEATURES)
"""The files that a record cannot be read without."""

_MAX_PIXELS = 10**8


@dataclass(frozen=True)
class About:
    """What was evaluated.

    Attributes:
        kind: of stage 2 on pairs, or of stage 1 on pictures.
        digest: hex sha256 over the evaluated pictures and their pairing; equal digests mean the same task.
        network, features: the perceptual network, and that of the Fréchet and kernel distances.
        resolution: side of the evaluated squares, in pixels.
        alpha, beta: visual and style fidelity; NaN for stage 1.
        content, style: where the pictures came from; for stage 1 the first is its domain's source, the second empty.
    """

    kind: Literal["transfer", "reconstruction"]
    digest: str
    n: int
    network: str
    features: str
    resolution: int
    alpha: float
    beta: float
    content: str
    style: str


@dataclass(frozen=True)
class Record:
    """A finished evaluation: its table, `summary_table`, features and samples as in `EvaluationResult`."""

    about: About
    table: pd.DataFrame
    summary: pd.DataFrame
    features: dict[str, NDArray[np.float32]]
    pictures: dict[int, dict[str, Picture]] = field(default_factory=dict)


def write_record(folder: Path, record: Record) -> None:
    """Write a record into `folder`, which is made if absent."""
    (folder / PICTURES).mkdir(parents=True, exist_ok=True)
    methods = list(next(iter(record.pictures.values()), {}))
    about = asdict(record.about) | {PICTURES: methods or None}
    (folder / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf8")
    record.table.to_parquet(folder / TABLE, index=False)
    record.summary.to_csv(folder / SUMMARY, index=False, float_format="%.9g")
    features = {name: np.ascontiguousarray(values) for name, values in record.features.items()}
    (folder / FEATURES).write_bytes(save(features))
    for pair, by_method in record.pictures.items():
        write_image(folder / PICTURES / f"{pair:04d}.png", np.hstack([by_method[method] for method in methods]))


def read_record(folder: Path) -> Record:
    """The record in `folder`.

    Raises:
        UserError: there is none, or it was not written by `write_record`.
    """
    try:
        written = json.loads((folder / ABOUT).read_text(encoding="utf8"))
        about = About(**{f.name: written[f.name] for f in fields(About)})
        table = pd.read_parquet(folder / TABLE)
        summary = pd.read_csv(folder / SUMMARY)
        features = load_file(folder / FEATURES)
        pictures = _read_pictures(folder / PICTURES, about.n, written.get(PICTURES))
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: not found", "`quantart evaluate` writes it") from None
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise UserError(f"{folder}: not the record of an evaluation ({error})", "evaluate again") from None
    return Record(about, table, summary, features, pictures)


def _read_pictures(folder: Path, n: int, methods: list[str] | None) -> dict[int, dict[str, Picture]]:
    """By pair and method; without `methods` each picture is a file `<pair>_<method>.png`, as records once had them."""
    pictures: dict[int, dict[str, Picture]] = {}
    for file in sorted(folder.glob("[0-9]*_*.png" if methods is None else f"{4 * '[0-9]'}.png")):
        pair, _, method = file.stem.partition("_")
        if int(pair) < n:  # an earlier, longer evaluation may have left more
            names = [method] if methods is None else methods
            parts = np.split(read_image(file, max_pixels=_MAX_PIXELS), len(names), axis=1)
            pictures.setdefault(int(pair), {}).update(zip(names, parts, strict=True))
    return pictures
