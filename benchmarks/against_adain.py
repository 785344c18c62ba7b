"""Does the trained network beat AdaIN, its untrained baseline? The rows of docs/experiments.md.

On the project's held-out test pairs, with the metrics and intervals of `quantart evaluate`. Style costs content, so
both are swept over beta and compared where they have the same content distance: that of the one which has less of it
at beta = 1. `own` is the share of outputs that are nearer, in Gram distance, to their own painting than to any other
test painting; `apart` the mean perceptual distance between the outputs of one photograph under different paintings;
`lab` the mean CIELAB error (CIE 1976) of the paintings' reconstructions by the style VQGAN, whose other figures are in
the row `paintings`: what no transfer through this VQGAN gets below.

    python benchmarks/against_adain.py [MODEL_FOLDER ...] [--magenta] [--json]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from quantart.data.pairs import read_pairs
from quantart.data.pictures import PackedPictures
from quantart.evaluation import methods
from quantart.evaluation.evaluate import EvaluationResult, evaluate_transfer
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.methods import Painter, Rendering
from quantart.evaluation.metrics import delta_e
from quantart.evaluation.networks import FeatureNetwork
from quantart.evaluation.observed import PairRenderer, Perception
from quantart.evaluation.resampling import Sharing, estimate
from quantart.evaluation.summary import Measurement, difference, sharing_of
from quantart.evaluation.task import TransferTask
from quantart.images.arrays import pixels_to_float
from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import gram_matrix, relative_distance
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import find_project
from quantart.vocabulary.methods import ADAIN, MAGENTA

BETAS = (0.6, 0.8, 1.0)
CONTENT, GRAM, KERNEL = "perceptual_squeezenet1_1", "gram_squeezenet1_1", "kd_efficientnet_lite0"
METHODS = ("model", ADAIN)
SHOWN = ((CONTENT, "content"), (GRAM, "gram"), (KERNEL, "kd"))
RECONSTRUCTED = "paintings"

Curve = list[dict[str, Measurement]]  # for each of BETAS


def mixed(model: ExperimentStage2, method: str, beta: float, photographs: Tensor, paintings: Tensor) -> Rendering:
    """Codes of either method mixed with the content's, as fidelity control does."""
    content, style = model.content_latents(photographs), model.style_latents(paintings)
    paint = methods.transfer if method == "model" else methods.adain
    z = paint(model, content, style).latents
    z = beta * z + (1 - beta) * content
    return Rendering(model.decode(z).clamp(-1, 1), z, None)


def at(curve: Curve, metric: str, content: Measurement) -> Measurement:
    """A metric where the curve has this content distance: linear between two betas, with its influence."""
    place = next((i for i, each in enumerate(curve[1:-1], 1) if content.value <= each[CONTENT].value), len(curve) - 1)
    low, high = curve[place - 1 : place + 1]
    span = high[CONTENT].value - low[CONTENT].value
    t = (content.value - low[CONTENT].value) / span
    moves = content.influence - (1 - t) * low[CONTENT].influence - t * high[CONTENT].influence  # of t, times span
    slope = (high[metric].value - low[metric].value) / span
    value = (1 - t) * low[metric].value + t * high[metric].value
    return Measurement(value, (1 - t) * low[metric].influence + t * high[metric].influence + slope * moves)


def at_equal_content(ours: Curve, theirs: Curve, metric: str, sharing: Sharing) -> list[float]:
    """Ours less theirs, and the ends of its interval; below 0: ours is better."""
    content = min((ours[-1][CONTENT], theirs[-1][CONTENT]), key=lambda each: each.value)
    return list(difference(at(theirs, metric, content), at(ours, metric, content), sharing))


def grams(lpips: LPIPS, pictures: Tensor) -> list[Tensor]:
    return [gram_matrix(layer) for layer in lpips.features(pictures)]


def nearest_own(lpips: LPIPS, outputs: Tensor, task: TransferTask) -> np.ndarray:
    """1 where the output is nearest to its own painting of all in the task's pairs, else 0: `(n,)`."""
    places = sorted({style for _, style in task.pairs})
    paintings = grams(lpips, pixels_to_float(task.styles.centre(places, task.side)))
    found = []
    for output, (_, style) in zip(outputs, task.pairs, strict=True):
        own = [layer.expand(len(places), -1, -1) for layer in grams(lpips, output[None])]
        found.append(float(places[int(relative_distance(own, paintings).argmin())] == style))
    return np.array(found)


def apart(lpips: LPIPS, outputs: Tensor, task: TransferTask) -> float:
    of_one: dict[int, list[int]] = {}
    for number, (content, _) in enumerate(task.pairs):
        of_one.setdefault(content, []).append(number)
    both_of = [both for numbers in of_one.values() for both in combinations(numbers, 2)]
    if not both_of:
        return float("nan")  # no photograph comes twice
    first, second = zip(*both_of, strict=True)
    pairs = zip(outputs[list(first)].split(16), outputs[list(second)].split(16), strict=True)
    return float(torch.cat([lpips(x, y) for x, y in pairs]).mean())


def paint(task: TransferTask, painter: Callable[[Tensor, Tensor], Rendering]) -> tuple[Tensor, list[Tensor]]:
    """Pictures `(n, 3, h, w)` of all pairs, and the indices of their codes where they have some."""
    made = []
    for start in range(0, len(task.pairs), 8):
        pairs = task.pairs[start : start + 8]
        photographs = pixels_to_float(task.contents.centre([c for c, _ in pairs], task.side))
        made.append(painter(photographs, pixels_to_float(task.styles.centre([s for _, s in pairs], task.side))))
    return torch.cat([each.pictures for each in made]), [each.indices for each in made if each.indices is not None]


def lab_error(model: ExperimentStage2, task: TransferTask) -> float:
    """Mean ΔE of the test paintings' reconstructions."""
    found = []
    for places in np.array_split(np.arange(len(task.styles)), max(len(task.styles) // 8, 1)):
        pictures = pixels_to_float(task.styles.centre(places.tolist(), task.side))
        made = model.decode(model.style_latents(pictures)).clamp(-1, 1)
        found.append(delta_e(made, pictures))
    return float(torch.cat(found).mean())


def usage(indices: Iterable[Tensor], codes: int) -> float:
    return len(torch.cat([each.flatten() for each in indices]).unique()) / codes


def curve(evaluation: EvaluationResult, method: str) -> Curve:
    return [evaluation.measured[f"{method} {beta:g}"] for beta in BETAS]


@torch.inference_mode()
def judge(folder: Path, task: TransferTask, perception: Perception, magenta: bool) -> dict[str, Any]:
    """One row."""
    model = ExperimentStage2.from_pretrained(folder).eval()
    painters = {f"{m} {beta:g}": partial(mixed, model, m, beta) for m in METHODS for beta in BETAS}
    stylizer = MagentaStylizer() if magenta else None
    extras: dict[str, Painter] = {RECONSTRUCTED: lambda x, y: methods.style_vqgan(model, y)}
    if stylizer:
        extras[MAGENTA] = lambda x, y: methods.repainted(model, stylizer(x, y))
    evaluation = evaluate_transfer(PairRenderer(model, task, perception, 8, painters, extras))
    sharing = sharing_of(evaluation.table[evaluation.table["method"] == "model 1"])
    ours, theirs = (curve(evaluation, method) for method in METHODS)
    row: dict[str, Any] = {"folder": str(folder), "lab": lab_error(model, task)}
    for metric, name in ((GRAM, "gram"), (KERNEL, "kd")):
        row[f"{name}_at_equal_content"] = at_equal_content(ours, theirs, metric, sharing)
    if magenta:
        row[MAGENTA] = {name: evaluation.measured[MAGENTA][metric].value for metric, name in SHOWN}
        for metric, name in SHOWN:
            row[f"{name}_less_magenta"] = list(
                difference(evaluation.measured[MAGENTA][metric], ours[-1][metric], sharing)
            )
    own = {}
    for method, its in zip(METHODS, (ours, theirs), strict=True):
        pictures, indices = paint(task, partial(mixed_codes, model, method))
        own[method] = nearest_own(perception.lpips, pictures, task)
        row[method] = {name: its[-1][metric].value for metric, name in SHOWN}
        row[method] |= {"own": own[method].mean(), "apart": apart(perception.lpips, pictures, task)}
        row[method] |= {"usage": usage(indices, model.config["n_embed"])} if indices else {}
    row[RECONSTRUCTED] = {name: evaluation.measured[RECONSTRUCTED][metric].value for metric, name in SHOWN[1:]}
    indices = paint(task, lambda x, y: methods.style_vqgan(model, y))[1]
    row[RECONSTRUCTED] |= {"usage": usage(indices, model.config["n_embed"])} if indices else {}
    gain = torch.from_numpy(own["model"] - own[ADAIN])
    row["own_less_adain"] = list(estimate(float(gain.mean()), (gain - gain.mean()) / len(gain), sharing))
    return row


def mixed_codes(model: ExperimentStage2, method: str, photographs: Tensor, paintings: Tensor) -> Rendering:
    content, style = model.content_latents(photographs), model.style_latents(paintings)
    return (methods.transfer if method == "model" else methods.adain)(model, content, style)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, help="folders of stage-2 models; default: the discrete one")
    parser.add_argument("--magenta", action="store_true", help="Magenta's network too; needs quantart[magenta]")
    parser.add_argument("--json", action="store_true", help="print JSON in place of a table")
    options = parser.parse_args()
    project = find_project()
    params = project.params()
    contents, styles = (PackedPictures(project.prepared(domain), "test") for domain in ("content", "style"))
    task = TransferTask(contents, styles, read_pairs(project.pairs("test"), contents, styles), params.data.resolution)
    perception = Perception(LPIPS("squeezenet1_1"), FeatureNetwork("efficientnet_lite0"))
    rows = [
        judge(folder, task, perception, options.magenta)
        for folder in options.models or [project.stage2_model("discrete")]
    ]
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row.pop('folder')}")
        for name, value in row.items():
            print(f"  {name:24} {shown(value)}")


def shown(value: Any) -> str:
    if isinstance(value, dict):
        return "  ".join(f"{name} {each:.3f}" for name, each in value.items())
    if isinstance(value, list):
        return f"{value[0]:+.3f} [{value[1]:+.3f}, {value[2]:+.3f}]"
    return f"{value:.3f}"


if __name__ == "__main__":
    main()
