"""Measuring a trained model on held-out pictures, beside the baselines it must beat.

With several processes, each measures a part of the batches; every process returns the whole result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
from quantart.evaluation.estimates import Estimate, Summary, rows_of
from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.observed import Observed, PairRenderer, Perception
from quantart.evaluation.summary import Measurement, measurements, summarise
from quantart.evaluation.task import ReconstructionTask, split_into_batches
from quantart.evaluation.texture import structure_distance, texture_distance
from quantart.images.arrays import Picture, pixels_to_float, to_arrays
from quantart.losses.statistics import moments, relative_distance
from quantart.machine.memory import keep_no_large_blocks
from quantart.machine.progress import progress
from quantart.models.stage_1 import ExperimentStage1
from quantart.vocabulary.methods import COPIED_CONTENT, COPIED_STYLE, MODEL
from quantart.vocabulary.metrics import STRUCTURE, TEXTURE


@dataclass(frozen=True)
class EvaluationResult:
    """A model measured on held-out pictures."""

    digest: str
    """Of the task."""
    table: pd.DataFrame
    """A row for each method and pair: `method`, `pair` (its number), `content`, `style` (file names), then a column for
    each metric. For a reconstruction: `method`, `file` and the metrics."""
    summary: Summary
    measured: dict[str, dict[str, Measurement]]
    """The same values, with the pairs' influences."""
    features: dict[str, NDArray[np.float32]]
    """By method `(n, d)`, in the order of the table's rows; a reconstruction's `copied_content` are the originals."""
    samples: dict[int, dict[str, Picture]] = field(default_factory=dict)
    """The first pairs' pictures, uint8 `(h, w, 3)`, by the pair's number, then method."""

    @property
    def n(self) -> int:
        """Number of pairs, that is of pictures that each method made."""
        return len(next(iter(self.features.values())))

    def summary_table(self) -> pd.DataFrame:
        """The summary with a row for each method and metric: `method`, `metric`, `value`, `low`, `high`, `n`."""
        rows = [(method, name, *each) for method, found in self.summary.items() for name, each in found.items()]
        return pd.DataFrame(rows, columns=["method", "metric", *Estimate._fields]).assign(n=self.n)


@torch.inference_mode()
def evaluate_transfer(render: PairRenderer, *, samples: int = 0) -> EvaluationResult:
    """Measure style transfer, and every baseline, on pairs of pictures.

    Memory grows with the number of pairs only by their features (`benchmarks/evaluation_memory.py`). The pictures of as
    many first pairs as `samples` says are returned.
    """
    keep_no_large_blocks()
    render.model.eval()
    batches = render.task.batches(render.batch_size)
    measured = [_measure_pairs(render, n, samples) for n in _own_part(batches, f"evaluate {render.model.variant}")]
    return _joined(gather_object(measured), render.task.digest, COPIED_STYLE, render.perception)


@torch.inference_mode()
def evaluate_reconstruction(
    model: ExperimentStage1, task: ReconstructionTask, perception: Perception, *, batch_size: int
) -> EvaluationResult:
    """Measure how well a VQGAN reconstructs pictures, and how much of its codebook they use."""
    keep_no_large_blocks()
    model.eval()
    batches = split_into_batches(range(len(task.pictures)), batch_size)
    measured = [_measure_pictures(model, task, perception, n) for n in _own_part(batches, "reconstruct")]
    return _joined(gather_object(measured), task.digest, COPIED_CONTENT, perception)


def measure(perception: Perception, output: Observed, content: Observed, style: Observed) -> dict[str, Tensor]:
    """The metrics of each pair, `(b,)` each; smaller is better.

    `structure_…`, `perceptual_…` (or `lpips_…`), `cfsd_…` and `latent_content` are distances to the photograph. All
    others are distances to the painting. `gram_…` and `meanstd_…` are relative to the painting's statistics, so that
    layers and pictures of different contrast count alike.
    """
    lpips = perception.lpips
    names = [each.network for each in perception.textures]
    judged = list(zip(names, output.textures, content.textures, style.textures, strict=True))
    return {
        **{f"{TEXTURE}{name}": texture_distance(ours, painting) for name, ours, _, painting in judged},
        **{f"{STRUCTURE}{name}": structure_distance(ours, photo) for name, ours, photo, _ in judged},
        "colour_rgb": metrics.colour_distance(output.colours, style.colours),
        lpips.metric: lpips.distance(content.features, output.features),
        f"cfsd_{lpips.network}": metrics.cfsd(output.features[lpips.structure], content.features[lpips.structure]),
        f"gram_{lpips.network}": relative_distance(output.grams, style.grams),
        f"meanstd_{lpips.network}": relative_distance(output.moments, style.moments),
        "latent_content": latent_content(output.latents, content.latents),
        "latent_style": latent_style(output.latents, style.latents),
    }


@dataclass
class _MeasuredBatch:
    """Measurements of one batch of pairs or pictures, on the CPU, by method."""

    numbers: list[int]
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    code_counts: dict[str, Tensor] = field(default_factory=dict)
    style_moments: Tensor | None = None
    samples: dict[int, dict[str, Picture]] = field(default_factory=dict)

    def add_table(self, method: str, names: Mapping[str, Sequence[object]], values: Mapping[str, Tensor]) -> None:
        columns = {name: value.tolist() for name, value in values.items()}
        self.tables[method] = pd.DataFrame({"method": method, **names, **columns})


def _own_part(batches: list[list[int]], title: str) -> Iterator[list[int]]:
    state = PartialState()
    with state.split_between_processes(batches) as own:
        yield from progress(own, len(own), title) if state.is_main_process else own


def _measure_pairs(render: PairRenderer, numbers: list[int], samples: int) -> _MeasuredBatch:
    batch, task = _MeasuredBatch(numbers), render.task
    content, style = render.originals(numbers)
    batch.style_moments = moments(style.latents).cpu()
    pairs = [task.pairs[number] for number in numbers]
    contents, styles = [task.contents.files[c] for c, _ in pairs], [task.styles.files[s] for _, s in pairs]
    names: dict[str, Sequence[object]] = {"pair": numbers, "content": contents, "style": styles}
    for method, output in render(numbers, content, style):
        batch.add_table(method, names, measure(render.perception, output, content, style))
        batch.features[method] = output.pooled.cpu().numpy()
        if output.indices is not None:
            batch.code_counts[method] = code_counts(output.indices, int(render.model.config["n_embed"])).cpu()
        for row, number in enumerate(numbers):
            if number < samples:
                batch.samples.setdefault(number, {})[method] = to_arrays(output.pictures[row : row + 1])[0]
    return batch


def _measure_pictures(
    model: ExperimentStage1, task: ReconstructionTask, perception: Perception, numbers: list[int]
) -> _MeasuredBatch:
    batch = _MeasuredBatch(numbers)
    targets = pixels_to_float(task.pictures.centre(numbers, task.side).to(next(model.parameters()).device))
    reconstruction, quantized = model(targets)
    reconstruction = reconstruction.clamp(-1, 1)
    values = {
        "psnr": metrics.psnr(reconstruction, targets),
        "ssim": metrics.ssim(reconstruction, targets),
        "delta_e": metrics.delta_e(reconstruction, targets),
        perception.lpips.metric: perception.lpips(targets, reconstruction),
    }
    batch.add_table(MODEL, {"file": [task.pictures.files[number] for number in numbers]}, values)
    for name, pictures in {MODEL: reconstruction, COPIED_CONTENT: targets}.items():
        batch.features[name] = perception.pool(pictures).cpu().numpy()
    batch.code_counts[MODEL] = code_counts(quantized.indices, model.quantize.n_e).cpu()
    return batch


def _joined(batches: list[_MeasuredBatch], digest: str, reference: str, perception: Perception) -> EvaluationResult:
    """The result of all processes' batches; `reference` is the method whose pictures the set distances compare with."""
    order = np.argsort(np.concatenate([batch.numbers for batch in batches]), kind="stable")
    methods = list(batches[0].tables)
    tables = [pd.concat([batch.tables[method] for batch in batches]).iloc[order] for method in methods]
    table = pd.concat(tables, ignore_index=True)
    style_moments = [batch.style_moments for batch in batches if batch.style_moments is not None]
    if style_moments:
        table[["latent_content", "latent_style"]] /= _variance(torch.cat(style_moments))
    features = {name: np.concatenate([b.features[name] for b in batches])[order] for name in batches[0].features}
    measured = {
        method: measurements(rows_of(table, method), features[method], features[reference], perception.set_metrics)
        for method in methods
    }
    for method in batches[0].code_counts:
        use = codebook_statistics(torch.stack([batch.code_counts[method] for batch in batches]).sum(0))
        measured[method] |= {name: Measurement(value.item()) for name, value in use.items()}
    found = {number: pictures for batch in batches for number, pictures in batch.samples.items()}
    samples = dict(sorted(found.items()))
    return EvaluationResult(digest, table, summarise(table, measured), measured, features, samples)


def _variance(moments: Tensor) -> float:
    """Variance of the paintings' latents over pictures and space, mean over channels, from their `moments`."""
    means, deviations = moments.double().chunk(2, dim=1)
    return float((means.var(0, correction=0) + deviations.square().mean(0)).mean())
