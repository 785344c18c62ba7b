"""Batches of training pictures and of stored codes: which items a step has is a function of (seed, step) alone.

So a resumed run repeats what an uninterrupted one would have done, and several processes share the joint batch that
one process would have had: each takes its slice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from quantart.data.codes import StoredCodes
from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.images.arrays import pixels_to_float
from quantart.vocabulary.names import Domain, Variant

Rows = NDArray[np.int64]
Draws = NDArray[np.float64]


class Schedule:
    """Endless epochs over `n` items in shuffled order, `batch_size` items a step, each item once an epoch.

    Args:
        stream: tells apart schedules of one run (content and style, say), so that they are shuffled differently.
    """

    def __init__(self, n: int, batch_size: int, *, seed: int, stream: int) -> None:
        self._n = n
        self._batch_size = batch_size
        self._seed = (seed, stream)
        self._epochs: dict[int, np.ndarray] = {}

    def indices(self, step: int) -> Rows:
        """Items of the joint batch: int64 `(batch_size,)`."""
        position = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, offsets = np.divmod(position, self._n)
        return np.array([self._order(int(e))[o] for e, o in zip(epochs, offsets, strict=True)], dtype=np.int64)

    def draws(self, step: int, count: int) -> Draws:
        """Uniform numbers in [0, 1) for the joint batch, `(batch_size, count)`: crops and flips."""
        return np.random.default_rng([*self._seed, 1, step]).random((self._batch_size, count))

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            order = np.random.default_rng([*self._seed, 0, epoch]).permutation(self._n)
            # a batch spans two epochs at most, unless there are fewer items than its size
            self._epochs = {e: o for e, o in self._epochs.items() if e >= epoch - 1} | {epoch: order}
        return self._epochs[epoch]


def process_slice(batch_size: int, rank: int, world: int) -> slice:
    """The slice of the joint batch that process `rank` of `world` takes."""
    return slice(batch_size * rank // world, batch_size * (rank + 1) // world)


class PictureBatches:
    """Random crops of training pictures, of all domains in equal parts."""

    def __init__(
        self,
        sources: Mapping[Domain, PackedPictures],
        *,
        batch_size: int,
        crop: int,
        seed: int,
        accelerator: Accelerator,
    ) -> None:
        parts = [len(part) for part in np.array_split(np.arange(batch_size), len(sources))]
        self._sources = sources
        self._schedules = [
            Schedule(len(source), part, seed=seed, stream=stream)
            for stream, (source, part) in enumerate(zip(sources.values(), parts, strict=True))
        ]
        self._slice = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        self._crop = crop
        self._device = accelerator.device

    def __call__(self, step: int) -> Tensor:
        """This process's pictures of the step: float `(b, 3, crop, crop)` in [-1, 1]."""
        crops = [
            source.crops(schedule.indices(step), self._crop, schedule.draws(step, 3))
            for source, schedule in zip(self._sources.values(), self._schedules, strict=True)
        ]
        return pixels_to_float(torch.cat(crops)[self._slice].to(self._device, non_blocking=True))

    def files(self, step: int) -> list[str]:
        """The domain and file name of each of these pictures."""
        names = [
            f"{domain} {source.files[row]}"
            for (domain, source), schedule in zip(self._sources.items(), self._schedules, strict=True)
            for row in schedule.indices(step)
        ]
        return names[self._slice]


class CodeBatch(NamedTuple):
    """What the frozen encoders made of content and style pictures.

    Codes `(b, h, w)` for the discrete variant, latents `(b, c, h, w)` for the continuous one.
    """

    content: Tensor
    style: Tensor
    painting: Tensor | None = None
    """`(b,)` int64, the painting that each row of `style` was made from; None: each from another one."""


class CodeBatches:
    """Random (content, style) pairs of stored codes or latents, cut at random places.

    Args:
        variant: `discrete` reads codes, `continuous` reads latents.
        pairs: indices of partners among the training pictures of both domains. A batch then holds partners only: the
            same copy of both pictures, cut at the same place. None: content and style are drawn independently.

    Raises:
        UserError: the stored codes are smaller than `crop`.
    """

    def __init__(
        self,
        content: StoredCodes,
        style: StoredCodes,
        *,
        variant: Variant,
        batch_size: int,
        crop: int,
        seed: int,
        accelerator: Accelerator,
        pairs: Pairs | None = None,
    ) -> None:
        self._codes = (content, style)
        for stored in self._codes:
            stored.check_crop(crop)
        if pairs is None:
            self._rows = [np.arange(len(stored)) for stored in self._codes]
        else:
            self._rows = [
                stored.rows_of(pictures) for stored, pictures in zip(self._codes, np.array(pairs).T, strict=True)
            ]
        schedules = [
            Schedule(len(rows), batch_size, seed=seed, stream=stream) for stream, rows in enumerate(self._rows)
        ]
        self._schedules = schedules if pairs is None else [schedules[0]] * 2
        self._slice = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        self._discrete = variant == "discrete"
        self._crop = crop
        self._device = accelerator.device

    def __call__(self, step: int) -> CodeBatch:
        """This process's content and style: codes `(b, crop, crop)` or latents `(b, c, crop, crop)`."""
        rows = self.rows(step)
        content, style = (
            self._read(stored, own, schedule.draws(step, 2)[self._slice])
            for stored, own, schedule in zip(self._codes, rows, self._schedules, strict=True)
        )
        painting = torch.from_numpy(self._codes[1].pictures_of(rows[1]))
        return CodeBatch(content, style, painting.to(self._device, non_blocking=True))

    def rows(self, step: int) -> list[Rows]:
        """Rows `(b,)` of the stored content and style that this process's slice of the step is read from."""
        return [
            rows[schedule.indices(step)[self._slice]]
            for rows, schedule in zip(self._rows, self._schedules, strict=True)
        ]

    def _read(self, stored: StoredCodes, rows: Rows, draws: Draws) -> Tensor:
        read = stored.codes if self._discrete else stored.latents
        return read(rows, self._crop, draws).to(self._device, non_blocking=True)
