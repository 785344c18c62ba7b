"""Metrics and a picture grid on validation pictures, while a VQGAN trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from quantart.components.quantizer import code_counts, codebook_statistics
from quantart.data.pictures import PackedPictures
from quantart.evaluation.metrics import delta_e, psnr
from quantart.images.arrays import Picture, pixels_to_float, to_arrays
from quantart.images.grid import picture_grid
from quantart.losses.lpips import LPIPS
from quantart.models.stage_1 import ExperimentStage1

Validated = tuple[dict[str, float], Mapping[str, Picture]]
"""Values by metric, and picture grids by name."""

MOST_PICTURES = 24
GRID_ROWS = 6
BATCH = 8


def validate_reconstructions(
    model: ExperimentStage1,
    pictures: Sequence[PackedPictures],
    perceptual: LPIPS,
    side: int,
    device: torch.device,
    *,
    quantize: bool,
) -> Validated:
    """PSNR, ΔE, perceptual distance and codebook use on validation pictures; a grid of inputs and reconstructions.

    The pictures are central squares of `side` pixels. Before training uses the codebook, nothing is quantised.
    """
    each = MOST_PICTURES // len(pictures)
    inputs = torch.cat([p.centre(range(min(each, len(p))), side) for p in pictures])
    measures: dict[str, Callable[[Tensor, Tensor], Tensor]]
    measures = {"psnr": psnr, "delta_e": delta_e, perceptual.metric: perceptual}
    values: dict[str, list[Tensor]] = {name: [] for name in measures}
    codes, outputs = [], []
    for part in pixels_to_float(inputs).to(device).split(BATCH):
        z = model.latents(part)
        quantized = model.quantize(z)
        output = model.decode(quantized.z_q if quantize else z).float().clamp(-1, 1)
        for name, measure in measures.items():
            values[name].append(measure(output, part))
        codes.append(quantized.indices.flatten())
        outputs.append(output)
    metrics = {name: float(torch.cat(parts).mean()) for name, parts in values.items()}
    if quantize:
        used = codebook_statistics(code_counts(torch.cat(codes), model.quantize.n_e))
        metrics |= {f"codebook_{name}": float(value) for name, value in used.items()}
    shown = torch.linspace(0, len(inputs) - 1, min(GRID_ROWS, len(inputs))).long()
    grid = grid_of({"input": pixels_to_float(inputs[shown]), "reconstruction": torch.cat(outputs)[shown].cpu()})
    return metrics, {"reconstructions": grid}


def grid_of(columns: Mapping[str, Tensor]) -> Picture:
    """One row for each picture of a column."""
    rows = zip(*map(to_arrays, columns.values()), strict=True)
    return picture_grid([list(row) for row in rows], list(columns))
