"""Results of evaluations, made up without any network."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quantart.evaluation.evaluate import EvaluationResult
from quantart.evaluation.summary import Measurement, measurements, summarise
from quantart.vocabulary.methods import BASELINES, COPIED_STYLE, MODEL

PAIRS = 40
CONTENT, STYLE, OTHER = "structure_net", "texture_net", "gram_net"


def transfer_result() -> EvaluationResult:
    """The model is better than AdaIN in texture, worse in structure, the same up to noise in `colour_rgb` and Gram."""
    draw = np.random.default_rng(0)
    hardness = draw.normal(100.0, 20.0, PAIRS)  # pairs differ much more than methods
    parts = []
    for method in (MODEL, *BASELINES):
        better = 1.0 if method == MODEL else 0.0
        columns = {
            CONTENT: hardness + better + draw.normal(0, 0.1, PAIRS),
            STYLE: hardness - better + draw.normal(0, 0.1, PAIRS),
            "colour_rgb": hardness + draw.normal(0, 0.1, PAIRS),
            OTHER: hardness + draw.normal(0, 0.1, PAIRS),
        }
        names = {"content": [f"{i % 5}.jpg" for i in range(PAIRS)], "style": [f"{i % 8}.jpg" for i in range(PAIRS)]}
        parts.append(pd.DataFrame({"method": method, "pair": range(PAIRS), **names, **columns}))
    table = pd.concat(parts, ignore_index=True)
    common = draw.normal(size=(PAIRS, 8)).astype(np.float32)
    features = {baseline: common + 0.1 * draw.normal(size=(PAIRS, 8)).astype(np.float32) for baseline in BASELINES}
    features = {MODEL: common + 2.0} | features | {COPIED_STYLE: common}
    measured = {
        method: measurements(table[table["method"] == method], values, common, ["fd_net", "kd_net"])
        | {"usage": Measurement(0.5)}
        for method, values in features.items()
    }
    samples = {
        pair: {method: draw.integers(0, 256, (16, 16, 3), dtype=np.uint8) for method in (MODEL, *BASELINES)}
        for pair in range(2)
    }
    return EvaluationResult("digest", table, summarise(table, measured), measured, features, samples)


def reconstruction_result() -> EvaluationResult:
    table = pd.DataFrame({"method": MODEL, "file": list("abc"), "psnr": [20.0, 22.0, 24.0]})
    same = np.ones((3, 4), np.float32)
    measured = {MODEL: measurements(table, same, same, []) | {"usage": Measurement(0.25)}}
    return EvaluationResult("digest", table, summarise(table, measured), measured, {MODEL: same})
