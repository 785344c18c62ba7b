"""Metrics and a picture grid on validation pairs, while a style transfer network trains.

Apart from `stage1_validation`, so that training a VQGAN does not depend on the code of stage 2.
"""

from __future__ import annotations

import torch
from torch import Tensor

from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.stage1_validation import BATCH, GRID_ROWS, Validated, grid_of
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
    """Latent distances on validation pairs, times `scale` as in the loss; a grid of content, style, output.

    The pictures are central squares of `side` pixels.
    """
    photographs = pixels_to_float(contents.centre([content for content, _ in pairs], side))
    paintings = pixels_to_float(styles.centre([style for _, style in pairs], side))
    metrics: dict[str, list[Tensor]] = {"latent_content": [], "latent_style": []}
    outputs = []
    for x, y in zip(photographs.to(device).split(BATCH), paintings.to(device).split(BATCH), strict=True):
        content, style = model.content_latents(x), model.style_latents(y)
        z = model.transfer(content, style).z
        metrics["latent_content"].append(latent_content(z, content) * scale)
        metrics["latent_style"].append(latent_style(z, style) * scale)
        outputs.append(model.decode(z).float().clamp(-1, 1).cpu())
    columns = {"content": photographs, "style": paintings, "output": torch.cat(outputs)}
    grid = grid_of({name: part[:GRID_ROWS] for name, part in columns.items()})
    return {name: float(torch.cat(each).mean()) for name, each in metrics.items()}, {"transfers": grid}
