"""Metrics and a picture grid on validation pairs, while a style transfer network trains.

Apart from `stage1_validation`, so that training a VQGAN does not depend on the code of stage 2.
"""

from __future__ import annotations

from statistics import fmean

import torch

from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.evaluation.latents import latent_content, latent_style
from quantart.evaluation.stage1_validation import GRID_ROWS, Validated, grid_of
from quantart.images.arrays import pixels_to_float
from quantart.losses.painting import PaintingLoss
from quantart.models.stage_2 import ExperimentStage2


def validate_transfers(
    model: ExperimentStage2,
    contents: PackedPictures,
    styles: PackedPictures,
    pairs: Pairs,
    side: int,
    device: torch.device,
    *,
    loss: PaintingLoss | None,
    quantize: bool = True,
) -> Validated:
    """Losses on validation pairs, of pictures or, without `loss`, of latents; a grid of content, style, output.

    The pictures are central squares of `side` pixels. Before training uses the codebook, nothing is quantised.
    """
    photographs = pixels_to_float(contents.centre([content for content, _ in pairs], side))
    paintings = pixels_to_float(styles.centre([style for _, style in pairs], side))
    rows: list[dict[str, float]] = []
    outputs = []
    for x, y in zip(photographs.to(device).split(1), paintings.to(device).split(1), strict=True):
        content, style = model.content_latents(x), model.style_latents(y)
        z = model.transfer(content, style, quantize).z
        output = model.decode(z).float().clamp(-1, 1)
        if loss is None:
            values = {"latent_content": latent_content(z, content), "latent_style": latent_style(z, style)}
        else:
            _, values = loss(output, loss.scene(x), loss.hand(y))
        rows.append({name: float(value) for name, value in values.items()})
        outputs.append(output.cpu())
    columns = {"content": photographs, "style": paintings, "output": torch.cat(outputs)}
    grid = grid_of({name: part[:GRID_ROWS] for name, part in columns.items()})
    return {name: fmean(row[name] for row in rows) for name in rows[0]}, {"transfers": grid}
