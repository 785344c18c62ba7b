"""A domain's pictures through its frozen encoder, once: the codes and latents that stage 2 trains on.

Each of several processes writes its part of the shards, which are the same as one process's. What was killed goes on at
the shards it was at.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from torch import Tensor

from quantart.data.arrow_files import SHARD, SHARD_FILE, sound_shards
from quantart.data.batches import process_slice
from quantart.data.codes import shards_of, write_codes, write_index
from quantart.data.index import INDEX_FILE
from quantart.data.pairs import name_number
from quantart.data.pictures import PackedPictures
from quantart.errors import UserError
from quantart.images.arrays import pixels_to_float
from quantart.imports import checksums
from quantart.machine.claim import claimed
from quantart.machine.disk import room_for
from quantart.machine.progress import progress
from quantart.machine.whole import fresh_place, resumed_folder
from quantart.models.folder import file_sha256
from quantart.models.stage_1 import ExperimentStage1

if TYPE_CHECKING:
    from quantart.params import Params

log = logging.getLogger(__name__)


def encode_domain(params: Params, network: Path, prepared: Path, out: Path, *, name: str, state: PartialState) -> None:
    """Write the codes of all training pictures, `encode.copies` rows for each, into the folder `out`.

    The objective `painting` trains on the pictures themselves: for it only the index is written. The progress bar shows
    the domain's `name`. UserError where the network or the prepared pictures are missing, or another command is at it.
    """
    model = ExperimentStage1.from_pretrained(network).eval().to(state.device)
    pictures = PackedPictures(prepared, "train")
    copies = params.encode.copies if params.stage2.objective == "reference" else 0
    about = {
        "pictures": {"train": pictures.digest},
        "copies": copies,
        "resolution": params.data.resolution,
        "paired": params.data.paired,
    }
    key = _work_key(params, network, prepared, about)
    with _in_folder_of(out, key, name, copies * shards_of(len(pictures)), state) as (folder, missing):
        own = missing[process_slice(len(missing), state.process_index, state.num_processes)]
        for number in progress(own, len(own), f"encode {name}") if state.is_main_process else own:
            copy, part = divmod(number, shards_of(len(pictures)))
            rows = np.arange(len(pictures))[part * SHARD : (part + 1) * SHARD]
            encoded_rows = encoded(model, _batches(pictures, copy, rows, params), state.device)
            codes, latents = (torch.cat(parts) for parts in zip(*encoded_rows, strict=True))
            write_codes(folder, number, codes, latents, model.config["n_embed"])
            pictures.unmap()
        state.wait_for_everyone()
        if state.is_main_process:
            write_index(folder, about, copies * len(pictures))
    state.wait_for_everyone()


@contextmanager
def _in_folder_of(out: Path, key: str, name: str, shards: int, state: PartialState) -> Iterator[tuple[Path, list[int]]]:
    """The `resumed_folder` of `out`, which the first process makes for all, and which of the shards it lacks."""
    out.parent.mkdir(parents=True, exist_ok=True)
    main = state.is_main_process
    with (
        claimed(out.with_name(f".{out.name}.encoding")) if main else nullcontext(True) as ours,
        room_for(f"encoding {name}", 0, out.parent, lambda: "run it again: it goes on"),
        resumed_folder(out, key) if main and ours else nullcontext(fresh_place(out) / key) as folder,
    ):
        plan = [(ours, _missing(folder, shards, name) if main and ours else [])]
        broadcast_object_list(plan)
        ours, missing = plan[0]
        if not ours:
            raise UserError(f"{out}: another command encodes into it", "wait until that has ended")
        yield folder, missing


def _missing(folder: Path, shards: int, name: str) -> list[int]:
    """The numbers of the shards that are still to be written; damaged ones are removed."""
    if done := sum(1 for _ in sound_shards(folder)):
        log.info("%s: goes on where it was stopped; %d shards of codes are done", name, done)
    return [number for number in range(shards) if not (folder / SHARD_FILE.format(number)).exists()]


def _work_key(params: Params, network: Path, prepared: Path, about: dict[str, Any]) -> str:
    """A name for what decides the shards: the network, the pictures, the parameters, and this code."""
    weights = {file.name: file_sha256(file) for file in network.iterdir() if file.is_file()}
    # two preparations may differ in their pixels alone, which the digest of the pictures does not tell
    when = (prepared / INDEX_FILE).stat().st_mtime_ns
    decides = [about, weights, when, params.seed, params.encode.batch_size, checksums(__name__)]
    return hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:16]


def _batches(pictures: PackedPictures, copy: int, rows: NDArray[np.int64], params: Params) -> Iterator[Tensor]:
    """uint8 batches of the pictures `rows`: copy 0 is centred, the others are cropped and flipped at random."""
    side = params.data.resolution
    for batch in np.array_split(rows, -(-len(rows) // params.encode.batch_size)):
        if copy == 0:
            yield pictures.centre(batch, side)
        else:
            yield pictures.crops(batch, side, _draws(pictures, copy, batch, params))


def _draws(pictures: PackedPictures, copy: int, rows: NDArray[np.int64], params: Params) -> NDArray[np.float64]:
    """Places and flips of the crops of successive pictures, uniform in [0, 1): `(b, 3)`; partners share them if paired.

    A picture has the same whatever else is in its batch or its shard.
    """
    if not params.data.paired:
        of_copy = np.random.PCG64([params.seed, copy])
        return np.random.Generator(of_copy.advance(3 * int(rows[0]))).random((len(rows), 3))
    seeds = ([params.seed, copy, name_number(pictures.files[row])] for row in rows)
    return np.stack([np.random.default_rng(seed).random(3) for seed in seeds])


@torch.inference_mode()
def encoded(
    model: ExperimentStage1, batches: Iterator[Tensor], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Codes `(b, h, w)` int64 and latents before quantisation of each uint8 batch `(b, 3, h·f, w·f)`."""
    for pixels in batches:
        latents = model.latents(pixels_to_float(pixels.to(device)))
        yield model.quantize.nearest(latents), latents
