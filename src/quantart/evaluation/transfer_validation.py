"""Metrics and a picture grid on validation pairs, while a style transfer network trains.

Apart from `validation`, so that training a VQGAN does not depend on the code of stage 2.
"""

from __future__ import annotations

import torch

from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.validation import BATCH, GRID_ROWS, Validated, grid_of
from quantart.images.arrays import pixels_to_float
from quantart.models.stage_2 import ExperimentStage2


def validate_transfers(
    model: ExperimentStage2,
    contents: PackedPictures,
    styles: PackedPictures,
    pairs: Pairs,
    side: int,
    scale: float,
    device: torch.device,
) -> Validated:
    """Latent distances on validation pairs, in units of the latents' variance; a grid of content, style, output.

    Args:
        side: of the central squares that are painted, in pixels.
        scale: one over the latents' variance.
    """
    photographs = pixels_to_float(contents.centre([content for content, _ in pairs], side))
    paintings = pixels_to_float(styles.centre([style for _, style in pairs], side))
    content_distances, style_distances, outputs = [], [], []
    for x, y in zip(photographs.to(device).split(BATCH), paintings.to(device).split(BATCH), strict=True):
        content, style = model.content_latents(x), model.style_latents(y)
        z = model.transfer(content, style).z
        content_distances.append(latent_content(z, content) * scale)
        style_distances.append(latent_style(z, style) * scale)
        outputs.append(model.decode(z).float().clamp(-1, 1).cpu())
    metrics = {
        "val/latent_content": float(torch.cat(content_distances).mean()),
        "val/latent_style": float(torch.cat(style_distances).mean()),
    }
    columns = {"content": photographs, "style": paintings, "output": torch.cat(outputs)}
    return metrics, {"val/transfers": grid_of({name: part[:GRID_ROWS] for name, part in columns.items()})}
