"""A domain's pictures through its frozen encoder, once: the codes and latents that stage 2 trains on.

Each of several processes encodes its part of the batches, which are the same as one process's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from torch import Tensor

from quantart.data.batches import process_slice
from quantart.data.codes import CodeWriter
from quantart.data.pairs import name_number
from quantart.data.pictures import PackedPictures
from quantart.images.arrays import pixels_to_float
from quantart.machine.progress import progress
from quantart.models.stage_1 import ExperimentStage1

if TYPE_CHECKING:
    from quantart.params import Params

_Part = tuple[int, NDArray[np.int64]]
"""What is encoded together: the number of the copy, and the pictures."""


def encode_domain(params: Params, network: Path, prepared: Path, out: Path, *, name: str, state: PartialState) -> None:
    """Write the codes of all training pictures, `encode.copies` rows for each, into the folder `out`.

    The objective `painting` trains on the pictures themselves: for it only the index is written. The progress bar shows
    the domain's `name`. UserError where the network or the prepared pictures are missing.
    """
    model = ExperimentStage1.from_pretrained(network).eval().to(state.device)
    writer = CodeWriter(out, model.config["n_embed"])
    pictures = PackedPictures(prepared, "train")
    copies = params.encode.copies if params.stage2.objective == "reference" else 0
    batches_of_copy = np.array_split(np.arange(len(pictures)), -(-len(pictures) // params.encode.batch_size))
    # all pictures of a copy come before those of the next
    parts = [(copy, part) for copy in range(copies) for part in batches_of_copy]
    own = parts[process_slice(len(parts), state.process_index, state.num_processes)]
    first = own[0][0] * len(pictures) + int(own[0][1][0]) if own else 0
    batches = encoded(model, _rows(pictures, own, params), state.device)
    if state.is_main_process:
        batches = progress(batches, len(own), f"encode {name}")
    writer.write("train", copies * len(pictures), batches, first)
    writer.finish(
        {
            "pictures": {"train": pictures.digest},
            "copies": copies,
            "resolution": params.data.resolution,
            "paired": params.data.paired,
        }
    )


def _rows(pictures: PackedPictures, parts: Sequence[_Part], params: Params) -> Iterator[Tensor]:
    """uint8 batches: copy 0 of the pictures is centred, the others are cropped and flipped at random."""
    side = params.data.resolution
    for copy, group in groupby(parts, key=lambda part: part[0]):
        draws = _draws(pictures, copy, params)
        for _, indices in group:
            yield pictures.centre(indices, side) if copy == 0 else pictures.crops(indices, side, draws[indices])


def _draws(pictures: PackedPictures, copy: int, params: Params) -> np.ndarray:
    """Places and flips of a copy's crops, uniform in [0, 1): `(n, 3)`; where data is paired, partners share them."""
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
