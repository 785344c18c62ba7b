"""Measuring a trained model on held-out pictures, beside the baselines it must beat."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd
import torch
from torch import Tensor

from quantart.components.quantizer import code_counts, codebook_statistics
from quantart.data.pictures import PackedPictures
from quantart.evaluation import metrics
from quantart.evaluation.observed import Observed
from quantart.evaluation.rendering import BASELINES, COPIED_CONTENT, COPIED_STYLE, MODEL, Painter, PairRenderer
from quantart.evaluation.sets import frechet_distance
from quantart.evaluation.summary import Score, summarise
from quantart.images import Picture, pixels_to_float, to_arrays
from quantart.losses.lpips import LPIPS
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.progress import progress


@dataclass(frozen=True)
class Evaluation:
    """A model measured on held-out pictures.

    Attributes:
        table: a row for each method and pair: `method`, `pair` (place in the list of pairs), `content`, `style` (file
            names), then a column for each metric; of a reconstruction: `method`, `file` and the metrics.
        summary: a score for each method and metric.
        samples: the first pairs' pictures, uint8 `(h, w, 3)`, by method; empty for a reconstruction.
    """

    table: pd.DataFrame
    summary: list[Score]
    samples: list[dict[str, Picture]] = field(default_factory=list)


@torch.inference_mode()
def evaluate_transfer(
    model: ExperimentStage2,
    contents: PackedPictures,
    styles: PackedPictures,
    pairs: Sequence[tuple[int, int]],
    *,
    lpips: LPIPS,
    side: int,
    batch_size: int,
    samples: int = 0,
    paint: Painter | None = None,
) -> Evaluation:
    """Measure style transfer, and every baseline, on pairs `(content, style)` of indices into the two splits.

    Memory does not grow with the number of pairs but for their statistics.

    Args:
        lpips: the perceptual network, on the model's device; its name becomes part of the metrics' names.
        side: of the central squares that are evaluated, in pixels.
        samples: number of first pairs whose pictures are returned.
        paint: makes the model's pictures in place of its own transfer, see `PairRenderer`.
    """
    model.eval()
    render = PairRenderer(model, lpips, contents, styles, side=side, batch_size=batch_size, paint=paint)
    sets = _Sets(model)
    tables: list[pd.DataFrame] = []
    shown: dict[int, dict[str, Picture]] = {}
    in_order = sorted(range(len(pairs)), key=lambda number: pairs[number])
    batches = _batches(in_order, batch_size)
    for numbers in progress(batches, len(batches), f"evaluate {model.variant}"):
        batch = [pairs[number] for number in numbers]
        outputs = render(batch)
        about = {
            "pair": numbers,
            "content": [contents.files[content] for content, _ in batch],
            "style": [styles.files[style] for _, style in batch],
        }
        for method, output in outputs.items():
            measured = measure(lpips, output, outputs[COPIED_CONTENT], outputs[COPIED_STYLE])
            tables.append(pd.DataFrame({"method": method, **about, **_columns(measured)}))
            sets.add(method, output)
        shown |= _samples(outputs, numbers, below=samples)
    table = pd.concat(tables).sort_values(["method", "pair"], key=_method_order, ignore_index=True)
    table[["latent_content", "latent_style"]] /= sets.latent_variance()
    return Evaluation(table, summarise(table, sets.metrics(lpips.network)), [shown[n] for n in sorted(shown)])


def measure(lpips: LPIPS, output: Observed, content: Observed, style: Observed) -> dict[str, Tensor]:
    """The metrics of each pair, `(b,)` each; smaller is better.

    `perceptual_…` (or `lpips_…`) and `latent_content` are distances to the photograph, the others to the painting.
    """
    return {
        lpips.metric: lpips.distance(content.features, output.features),
        f"gram_{lpips.network}": metrics.relative_distance(output.grams, style.grams),
        f"meanstd_{lpips.network}": metrics.relative_distance(output.moments, style.moments),
        "colour_rgb": metrics.colour_distance(output.colours, style.colours),
        "latent_content": metrics.latent_content(output.latents, content.latents),
        "latent_style": metrics.latent_style(output.latents, style.latents),
    }


@torch.inference_mode()
def evaluate_reconstruction(
    model: ExperimentStage1, pictures: PackedPictures, *, lpips: LPIPS, side: int, batch_size: int
) -> Evaluation:
    """Measure how well a VQGAN reconstructs a split's pictures, and how much of its codebook they use."""
    model.eval()
    device = next(model.parameters()).device
    counts = torch.zeros(model.quantize.n_e, device=device)
    tables: list[pd.DataFrame] = []
    batches = _batches(list(range(len(pictures))), batch_size)
    for indices in progress(batches, len(batches), "reconstruct"):
        targets = pixels_to_float(pictures.centre(indices, side).to(device))
        reconstruction, quantized = model(targets)
        counts += code_counts(quantized.indices, len(counts))
        measured = {
            "psnr": metrics.psnr(reconstruction, targets),
            lpips.metric: lpips(targets, reconstruction.clamp(-1, 1)),
        }
        files = [pictures.files[index] for index in indices]
        tables.append(pd.DataFrame({"method": MODEL, "file": files, **_columns(measured)}))
    table = pd.concat(tables, ignore_index=True)
    return Evaluation(table, summarise(table, {MODEL: _numbers(codebook_statistics(counts))}))


class _Sets:
    """What is measured on all pictures of a method together."""

    def __init__(self, model: ExperimentStage2) -> None:
        self._n_codes = model.config["n_embed"]
        self._pooled: defaultdict[str, list[Tensor]] = defaultdict(list)
        self._counts: dict[str, Tensor] = {}
        self._style_moments: list[Tensor] = []

    def add(self, method: str, output: Observed) -> None:
        self._pooled[method].append(output.pooled.cpu())
        if method == COPIED_STYLE:
            self._style_moments.append(metrics.moments(output.latents))
        if output.indices is not None:
            counts = code_counts(output.indices, self._n_codes)
            self._counts[method] = self._counts.get(method, 0) + counts

    def latent_variance(self) -> float:
        """Of the paintings' latents, over pictures and space, the mean over channels."""
        means, deviations = torch.cat(self._style_moments).double().chunk(2, dim=1)
        return float((means.var(0, correction=0) + deviations.square().mean(0)).mean())

    def metrics(self, network: str) -> dict[str, dict[str, float]]:
        """By method: Fréchet distance of its pictures to the pairs' paintings, usage and perplexity of its codes."""
        paintings = torch.cat(self._pooled[COPIED_STYLE])
        values: dict[str, dict[str, float]] = {}
        for method, pooled in self._pooled.items():
            values[method] = {f"fd_{network}": frechet_distance(torch.cat(pooled), paintings)}
            if method in self._counts:
                values[method] |= _numbers(codebook_statistics(self._counts[method]))
        return values


def _method_order(column: pd.Series) -> pd.Series:
    """The model first, then its baselines; other columns by their values."""
    return column.map((MODEL, *BASELINES).index) if column.name == "method" else column


def _batches(items: list[int], size: int) -> list[list[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def _columns(values: dict[str, Tensor]) -> dict[str, list[float]]:
    return {name: value.tolist() for name, value in values.items()}


def _numbers(values: dict[str, Tensor]) -> dict[str, float]:
    return {name: value.item() for name, value in values.items()}


def _samples(outputs: dict[str, Observed], numbers: list[int], below: int) -> dict[int, dict[str, Picture]]:
    """Pictures by method of those pairs of the batch whose number is small enough."""
    wanted = [row for row, number in enumerate(numbers) if number < below]
    arrays = {method: to_arrays(output.pictures[wanted]) for method, output in outputs.items()} if wanted else {}
    return {numbers[row]: {m: pictures[i] for m, pictures in arrays.items()} for i, row in enumerate(wanted)}
