"""Batches of training pictures and of stored codes: which items a step has is a function of (seed, step) alone.

So a resumed run repeats what an uninterrupted one would have done, and several processes share the joint batch that
one process would have had: each takes its slice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple, TypedDict, Unpack

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import interpolate

from quantart.data.codes import StoredCodes
from quantart.data.pairs import Pairs
from quantart.data.pictures import PackedPictures
from quantart.images.arrays import pixels_to_float
from quantart.vocabulary.names import Domain, Variant

Rows = NDArray[np.int64]
AHEAD = 32  # steps whose data are on their way


class Schedule:
    """Endless epochs over `n` items, `batch_size` items a step, each item once an epoch.

    The schedules of one run (content and style, say) differ in their `stream`, so they are shuffled differently.
    """

    def __init__(self, n: int, batch_size: int, *, seed: int, stream: int) -> None:
        self._n = n
        self._batch_size = batch_size
        self._seed = (seed, stream)
        # a batch spans two epochs at most, unless there are fewer items than its size, and so does one further ahead
        self._order = lru_cache(maxsize=4)(self._shuffled)

    def indices(self, step: int) -> Rows:
        """Items of the joint batch: int64 `(batch_size,)`."""
        places = range(step * self._batch_size, (step + 1) * self._batch_size)
        return np.array([self._order(place // self._n)[place % self._n] for place in places], dtype=np.int64)

    def draws(self, step: int, count: int) -> NDArray[np.float64]:
        """Uniform numbers in [0, 1) for the joint batch, `(batch_size, count)`: crops and flips."""
        return np.random.default_rng([*self._seed, 1, step]).random((self._batch_size, count))

    def _shuffled(self, epoch: int) -> Rows:
        return np.random.default_rng([*self._seed, 0, epoch]).permutation(self._n)


class Ahead:
    """Begins to fetch what later steps need, where that is in a store. It changes no batch."""

    def __init__(self, sources: Iterable[PackedPictures | StoredCodes], want: Callable[[int], None]) -> None:
        self._distant = any(source.distant for source in sources)
        self._want = want
        self._next = 0

    def __call__(self, step: int) -> None:
        if self._distant:
            for later in range(max(step, self._next), step + AHEAD):
                self._want(later)
            self._next = step + AHEAD


def process_slice(batch_size: int, rank: int, world: int) -> slice:
    """What process `rank` of `world` takes of a joint batch."""
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
        parts = np.array_split(np.arange(batch_size), len(sources))
        self._sources = sources
        self._schedules = [
            Schedule(len(source), len(part), seed=seed, stream=stream)
            for stream, (source, part) in enumerate(zip(sources.values(), parts, strict=True))
        ]
        self._slice = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        self._crop = crop
        self._device = accelerator.device
        self._ahead = Ahead(sources.values(), self._want)

    def _want(self, step: int) -> None:
        for source, schedule in zip(self._sources.values(), self._schedules, strict=True):
            source.want(schedule.indices(step))

    def __call__(self, step: int) -> Tensor:
        """This process's pictures of the step: float `(b, 3, crop, crop)` in [-1, 1]."""
        self._ahead(step)
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


class PairOptions(TypedDict):
    """What batches of pairs of both kinds are drawn by."""

    batch_size: int
    crop: int
    seed: int
    accelerator: Accelerator


class _Pairs:
    """Random (content, style) pairs: which rows of both this process's slice of a step is made from, cut at `crop`.

    `rows` are the candidates of both. Where they are partners, row by row, a batch holds partners only; else both are
    drawn independently.
    """

    def __init__(self, rows: Sequence[Rows], *, partners: bool, **options: Unpack[PairOptions]) -> None:
        batch_size, seed, accelerator = options["batch_size"], options["seed"], options["accelerator"]
        self._rows = rows
        schedules = [Schedule(len(own), batch_size, seed=seed, stream=stream) for stream, own in enumerate(rows)]
        self._schedules = [schedules[0]] * 2 if partners else schedules
        self._slice = process_slice(batch_size, accelerator.process_index, accelerator.num_processes)
        self._crop = options["crop"]
        self._device = accelerator.device

    def rows(self, step: int) -> list[Rows]:
        """Rows `(b,)` of the content and of the style."""
        schedules = zip(self._rows, self._schedules, strict=True)
        return [rows[schedule.indices(step)[self._slice]] for rows, schedule in schedules]

    def pictures(self, step: int) -> list[Rows]:
        """The training pictures `(b,)` of both domains that these rows are of."""
        return self.rows(step)

    def _draws(self, step: int, count: int) -> list[NDArray[np.float64]]:
        return [schedule.draws(step, count)[self._slice] for schedule in self._schedules]


class PairBatch(NamedTuple):
    """Pictures `(b, 3, crop, crop)` in [-1, 1]."""

    content: Tensor
    style: Tensor


class PairBatches(_Pairs):
    """Random (content, style) pairs of training pictures, cut at random places.

    `pairs` are indices of partners in both domains. A batch then holds partners only, cut at the same place. Without
    them content and style are drawn independently.

    All pictures of a step are reduced by one random factor from `min_scale` to 1, at most until the whole short side
    of the smaller prepared pictures is seen: what a network learns at one size of strokes it does not know at another.
    """

    def __init__(
        self,
        content: PackedPictures,
        style: PackedPictures,
        *,
        pairs: Pairs | None = None,
        min_scale: float = 1.0,
        **options: Unpack[PairOptions],
    ) -> None:
        self._sources = (content, style)
        self._min_scale = min_scale
        self._scales = Schedule(1, 1, seed=options["seed"], stream=len(self._sources))
        rows = [np.arange(len(each)) for each in self._sources] if pairs is None else list(np.array(pairs).T)
        super().__init__(rows, partners=pairs is not None, **options)
        self._ahead = Ahead(self._sources, self._want)

    def _want(self, step: int) -> None:
        for source, rows in zip(self._sources, self.rows(step), strict=True):
            source.want(rows)

    def __call__(self, step: int) -> PairBatch:
        """This process's pairs of the step."""
        self._ahead(step)
        side = self._side(step)
        crops = [
            source.crops(rows, side, draws)
            for source, rows, draws in zip(self._sources, self.rows(step), self._draws(step, 3), strict=True)
        ]
        pictures = (pixels_to_float(each.to(self._device, non_blocking=True)) for each in crops)
        return PairBatch(*(_reduced(each, self._crop) for each in pictures))

    def _side(self, step: int) -> int:
        scale = 1 - (1 - self._min_scale) * self._scales.draws(step, 1).item()
        return max(self._crop, min(round(self._crop / scale), *(source.short_side for source in self._sources)))


def _reduced(pictures: Tensor, side: int) -> Tensor:
    if pictures.shape[-1] == side:
        return pictures
    return interpolate(pictures, (side, side), mode="bicubic", antialias=True).clamp(-1, 1)


class CodeBatch(NamedTuple):
    """Codes `(b, h, w)` for the discrete variant, latents `(b, c, h, w)` for the continuous one."""

    content: Tensor
    style: Tensor


class CodeBatches(_Pairs):
    """Random (content, style) pairs of stored codes or latents, cut at random places.

    `pairs` are indices of partners among the training pictures of both domains. A batch then holds partners only: the
    same copy of both pictures, cut at the same place. Without them content and style are drawn independently.
    UserError where the stored codes are smaller than `crop`.
    """

    def __init__(
        self,
        content: StoredCodes,
        style: StoredCodes,
        *,
        variant: Variant,
        pairs: Pairs | None = None,
        **options: Unpack[PairOptions],
    ) -> None:
        self._codes = (content, style)
        for stored in self._codes:
            stored.check_crop(options["crop"])
        if pairs is None:
            rows = [np.arange(len(stored)) for stored in self._codes]
        else:
            rows = [stored.rows_of(own) for stored, own in zip(self._codes, np.array(pairs).T, strict=True)]
        super().__init__(rows, partners=pairs is not None, **options)
        self._discrete = variant == "discrete"
        self._ahead = Ahead(self._codes, self._want)

    def _want(self, step: int) -> None:
        for stored, rows in zip(self._codes, self.rows(step), strict=True):
            stored.want("codes" if self._discrete else "latents", rows)

    def __call__(self, step: int) -> CodeBatch:
        """This process's content and style: codes `(b, crop, crop)` or latents `(b, c, crop, crop)`."""
        self._ahead(step)
        content, style = (
            (stored.codes if self._discrete else stored.latents)(rows, self._crop, draws)
            for stored, rows, draws in zip(self._codes, self.rows(step), self._draws(step, 2), strict=True)
        )
        return CodeBatch(*(each.to(self._device, non_blocking=True) for each in (content, style)))

    def pictures(self, step: int) -> list[Rows]:
        """The training pictures `(b,)` of both domains that these rows are of."""
        return [stored.pictures_of(rows) for stored, rows in zip(self._codes, self.rows(step), strict=True)]
