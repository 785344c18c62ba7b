"""Which items make up the batch of a step, as a function of (seed, step) alone.

So a resumed run sees what an uninterrupted one would have seen, and several processes share the joint batch that one
process would have had: each takes its slice.
"""

from __future__ import annotations

import numpy as np


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

    def indices(self, step: int) -> np.ndarray:
        """Items of the joint batch: int64 `(batch_size,)`."""
        position = np.arange(step * self._batch_size, (step + 1) * self._batch_size)
        epochs, offsets = np.divmod(position, self._n)
        return np.array([self._order(int(e))[o] for e, o in zip(epochs, offsets, strict=True)], dtype=np.int64)

    def draws(self, step: int, count: int) -> np.ndarray:
        """Uniform numbers in [0, 1) for the joint batch, `(batch_size, count)`: crops and flips."""
        return np.random.default_rng([*self._seed, 1, step]).random((self._batch_size, count))

    def _order(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            order = np.random.default_rng([*self._seed, 0, epoch]).permutation(self._n)
            # a batch spans two epochs at most, unless there are fewer items than its size
            self._epochs = {e: o for e, o in self._epochs.items() if e >= epoch - 1} | {epoch: order}
        return self._epochs[epoch]


def share(batch_size: int, rank: int, world: int) -> slice:
    """The slice of the joint batch that process `rank` of `world` takes."""
    return slice(batch_size * rank // world, batch_size * (rank + 1) // world)
