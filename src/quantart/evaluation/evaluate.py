"""Measuring a trained model on held-out pictures, beside the baselines it must beat.

Of several processes each measures its share of the batches; all of them return the whole evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor

from quantart.components.quantizer import code_counts, codebook_statistics
from quantart.evaluation import metrics
from quantart.evaluation.baselines import COPIED_CONTENT, COPIED_STYLE, Painter
from quantart.evaluation.observed import Observed, Perception
from quantart.evaluation.rendering import PairRenderer
from quantart.evaluation.summary import Measurement, Score, measurements, summarise
from quantart.evaluation.task import ReconstructionTask, TransferTask, batches, share
from quantart.images import Picture, pixels_to_float, to_arrays
from quantart.losses.statistics import moments, relative_distance
from quantart.machine.memory import keep_no_large_blocks
from quantart.machine.progress import progress
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.metrics import MODEL


@dataclass(frozen=True)
class EvaluationResult:
    """A model measured on held-out pictures.

    Attributes:
        digest: of the task.
        table: a row for each method and pair: `method`, `pair` (place in the list of pairs), `content`, `style` (file
            names), then a column for each metric; of a reconstruction: `method`, `file` and the metrics.
        summary: a score for each method and metric.
        measured: the same values with the pairs' influences.
        features: by method `(n, d)`, in the order of the table's rows; of a reconstruction `copied_content` is the
            originals'.
        samples: the first pairs' pictures, uint8 `(h, w, 3)`, by number of the pair and method.
    """

    digest: str
    table: pd.DataFrame
    summary: list[Score]
    measured: dict[str, dict[str, Measurement]]
    features: dict[str, NDArray[np.float32]]
    samples: dict[int, dict[str, Picture]] = field(default_factory=dict)


@torch.inference_mode()
def evaluate_transfer(
    model: ExperimentStage2,
    task: TransferTask,
    perception: Perception,
    *,
    batch_size: int,
    samples: int = 0,
    painters: Mapping[str, Painter] | None = None,
    extras: Mapping[str, Painter] | None = None,
) -> EvaluationResult:
    """Measure style transfer, and every baseline, on pairs of pictures.

    Memory grows with the number of pairs by their features alone (`benchmarks/evaluation_memory.py`).

    Args:
        perception: its networks' names become part of the metrics' names.
        samples: number of first pairs whose pictures are returned.
        painters, extras: further methods in place of the model's own transfer and after the baselines, see
            `PairRenderer`.
    """
    keep_no_large_blocks()
    model.eval()
    render = PairRenderer(model, task, perception, batch_size=batch_size, painters=painters, extras=extras)
    state = PartialState()
    own = list(share(task.batches(batch_size), state.process_index, state.num_processes))
    label = f"evaluate {model.variant}"
    numbered = progress(own, len(own), label) if state.is_main_process else own
    parts = [_measure(render, task, perception, numbers, samples) for numbers in numbered]
    return _joined(gather_object(parts), render.methods, task, perception)


@torch.inference_mode()
def paint_pairs(
    model: ExperimentStage2,
    task: TransferTask,
    perception: Perception,
    numbers: Sequence[int],
    *,
    batch_size: int,
    painters: Mapping[str, Painter] | None = None,
    extras: Mapping[str, Painter] | None = None,
) -> dict[int, dict[str, Picture]]:
    """The pictures of a few pairs by their numbers and method, without measuring them."""
    render = PairRenderer(model, task, perception, batch_size=batch_size, painters=painters, extras=extras)
    painted: dict[int, dict[str, Picture]] = {number: {} for number in numbers}
    for batch in batches(numbers, batch_size):
        for method, output in render(batch, *render.originals(batch)):
            for number, picture in zip(batch, to_arrays(output.pictures), strict=True):
                painted[number][method] = picture
    return painted


def measure(perception: Perception, output: Observed, content: Observed, style: Observed) -> dict[str, Tensor]:
    """The metrics of each pair, `(b,)` each; smaller is better.

    `perceptual_…` (or `lpips_…`), `cfsd_…` and `latent_content` are distances to the photograph, the others to the
    painting, but for `pair_composite_…`, the product of one plus either's distance.
    """
    lpips = perception.lpips
    distance = lpips.distance(content.features, output.features)
    gram = relative_distance(output.grams, style.grams)
    return {
        lpips.metric: distance,
        f"cfsd_{lpips.network}": metrics.cfsd(output.features[lpips.structure], content.features[lpips.structure]),
        f"gram_{lpips.network}": gram,
        f"meanstd_{lpips.network}": relative_distance(output.moments, style.moments),
        "colour_rgb": metrics.colour_distance(output.colours, style.colours),
        "latent_content": metrics.latent_content(output.latents, content.latents),
        "latent_style": metrics.latent_style(output.latents, style.latents),
        f"pair_composite_{lpips.network}": (1 + distance) * (1 + gram),
    }


@torch.inference_mode()
def evaluate_reconstruction(
    model: ExperimentStage1, task: ReconstructionTask, perception: Perception, *, batch_size: int
) -> EvaluationResult:
    """Measure how well a VQGAN reconstructs pictures, and how much of its codebook they use."""
    keep_no_large_blocks()
    model.eval()
    device = next(model.parameters()).device
    state = PartialState()
    own = list(share(batches(range(len(task.pictures)), batch_size), state.process_index, state.num_processes))
    parts: list[_Part] = []
    for numbers in progress(own, len(own), "reconstruct") if state.is_main_process else own:
        targets = pixels_to_float(task.pictures.centre(numbers, task.side).to(device))
        reconstruction, quantized = model(targets)
        reconstruction = reconstruction.clamp(-1, 1)
        measured = {
            "psnr": metrics.psnr(reconstruction, targets),
            "ssim": metrics.ssim(reconstruction, targets),
            "delta_e": metrics.delta_e(reconstruction, targets),
            perception.lpips.metric: perception.lpips(targets, reconstruction),
        }
        part = _Part(numbers)
        files = [task.pictures.files[number] for number in numbers]
        part.tables.append(pd.DataFrame({"method": MODEL, "file": files, **_columns(measured)}))
        part.features = {
            name: perception.features(pictures).cpu().numpy()
            for name, pictures in {MODEL: reconstruction, COPIED_CONTENT: targets}.items()
        }
        part.counts[MODEL] = code_counts(quantized.indices, model.quantize.n_e).cpu()
        parts.append(part)
    parts = gather_object(parts)
    table = pd.concat([table for part in parts for table in part.tables], ignore_index=True)
    features = {name: _in_order(parts, name) for name in (MODEL, COPIED_CONTENT)}
    measured = _measured(table, features, COPIED_CONTENT, perception, parts)
    return EvaluationResult(task.digest, table, summarise(table, measured), measured, features)


@dataclass
class _Part:
    """What was measured of one batch, on the CPU."""

    numbers: list[int]
    tables: list[pd.DataFrame] = field(default_factory=list)
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    counts: dict[str, Tensor] = field(default_factory=dict)
    style_moments: Tensor | None = None
    samples: dict[int, dict[str, Picture]] = field(default_factory=dict)


def _measure(
    render: PairRenderer, task: TransferTask, perception: Perception, numbers: list[int], samples: int
) -> _Part:
    part = _Part(numbers)
    content, style = render.originals(numbers)
    part.style_moments = moments(style.latents).cpu()
    pairs = [task.pairs[number] for number in numbers]
    about = {
        "pair": numbers,
        "content": [task.contents.files[c] for c, _ in pairs],
        "style": [task.styles.files[s] for _, s in pairs],
    }
    for method, output in render(numbers, content, style):
        measured = _columns(measure(perception, output, content, style))
        part.tables.append(pd.DataFrame({"method": method, **about, **measured}))
        part.features[method] = output.pooled.cpu().numpy()
        if output.indices is not None:
            part.counts[method] = code_counts(output.indices, render.n_codes).cpu()
        for row, number in enumerate(numbers):
            if number < samples:
                part.samples.setdefault(number, {})[method] = to_arrays(output.pictures[row : row + 1])[0]
    return part


def _joined(parts: list[_Part], methods: list[str], task: TransferTask, perception: Perception) -> EvaluationResult:
    table = pd.concat([table for part in parts for table in part.tables])
    place = {method: number for number, method in enumerate(methods)}
    order = table["method"].map(place) * len(task.pairs) + table["pair"]
    table = table.iloc[order.argsort(kind="stable")].reset_index(drop=True)
    moments = torch.cat([part.style_moments for part in parts if part.style_moments is not None])
    table[["latent_content", "latent_style"]] /= _variance(moments)
    features = {method: _in_order(parts, method) for method in methods}
    measured = _measured(table, features, COPIED_STYLE, perception, parts)
    samples = {number: pictures for part in parts for number, pictures in part.samples.items()}
    return EvaluationResult(
        task.digest, table, summarise(table, measured), measured, features, dict(sorted(samples.items()))
    )


def _in_order(parts: list[_Part], method: str) -> NDArray[np.float32]:
    numbers = np.concatenate([part.numbers for part in parts])
    return np.concatenate([part.features[method] for part in parts])[np.argsort(numbers, kind="stable")]


def _variance(moments: Tensor) -> float:
    """Of the paintings' latents, over pictures and space, the mean over channels, from their means and deviations."""
    means, deviations = moments.double().chunk(2, dim=1)
    return float((means.var(0, correction=0) + deviations.square().mean(0)).mean())


def _measured(
    table: pd.DataFrame,
    features: Mapping[str, NDArray[np.float32]],
    reference: str,
    perception: Perception,
    parts: list[_Part],
) -> dict[str, dict[str, Measurement]]:
    """By method, then metric; where codes made the pictures with the use of the codebook."""
    counts: dict[str, Tensor] = {}
    for part in parts:
        for method, own in part.counts.items():
            counts[method] = counts.get(method, torch.zeros_like(own)) + own
    measured: dict[str, dict[str, Measurement]] = {}
    for method in table["method"].unique():
        rows = table.loc[table["method"] == method]
        measured[method] = measurements(rows, features[method], features[reference], perception.set_metrics)
        use = codebook_statistics(counts[method]) if method in counts else {}
        measured[method] |= {name: Measurement(value.item(), None) for name, value in use.items()}
    return measured


def _columns(values: Mapping[str, Tensor]) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in values.items()}
