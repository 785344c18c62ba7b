"""Encode: run the frozen encoder of one domain once over its pictures and store codes and latents."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from quantart.data.codes import CodeWriter
from quantart.data.pairs import name_number
from quantart.data.pictures import PackedPictures
from quantart.device import default_device
from quantart.images import pixels_to_float
from quantart.models.stage_1 import ExperimentStage1
from quantart.params import Domain, Params
from quantart.progress import progress
from quantart.project import Project


def run(project: Project, domain: Domain) -> None:
    """Write `data/codes/<domain>`: several rows for each training picture."""
    params = project.params()
    project.check_writable()
    device = default_device()
    model = ExperimentStage1.from_pretrained(project.stage1_model(domain)).eval().to(device)
    writer = CodeWriter(project.codes(domain), params.model.n_embed)
    copies = params.encode.copies
    pictures = PackedPictures(project.prepared(domain), "train")
    batches = encoded(model, _rows(pictures, copies, params), device)
    total = -(-len(pictures) // params.encode.batch_size) * copies
    writer.write("train", copies * len(pictures), progress(batches, total, f"encode {domain}"))
    writer.finish(
        {
            "pictures": {"train": pictures.digest},
            "copies": copies,
            "resolution": params.data.resolution,
            "paired": params.data.paired,
        }
    )


def _rows(pictures: PackedPictures, copies: int, params: Params) -> Iterator[Tensor]:
    """uint8 batches: all pictures centred, then all of them cropped and flipped at random, `copies - 1` times."""
    side = params.data.resolution
    for copy in range(copies):
        draws = _draws(pictures, copy, params)
        for indices in np.array_split(np.arange(len(pictures)), -(-len(pictures) // params.encode.batch_size)):
            if copy == 0:
                yield pictures.centre(indices, side)
            else:
                yield pictures.crops(indices, side, draws[indices])


def _draws(pictures: PackedPictures, copy: int, params: Params) -> np.ndarray:
    """Places and flips of a copy's crops, uniform in [0, 1): `(n, 3)`; partners have the same where data is paired."""
    if not params.data.paired:
        return np.random.default_rng([params.seed, copy]).random((len(pictures), 3))
    seeds = ([params.seed, copy, name_number(file)] for file in pictures.files)
    return np.stack([np.random.default_rng(seed).random(3) for seed in seeds])


@torch.inference_mode()
def encoded(
    model: ExperimentStage1, batches: Iterator[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes `(b, h, w)` int64 and latents before quantisation of each uint8 batch `(b, 3, h·f, w·f)`."""
    for pixels in batches:
        latents = model.latents(pixels_to_float(pixels.to(device)))
        yield model.quantize.nearest(latents), latents
