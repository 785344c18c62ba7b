"""Latents of style pictures, kept for the next request with the same picture."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import NamedTuple

import numpy as np
from torch import Tensor

from quantart.images.arrays import Picture


class CacheFigures(NamedTuple):
    """Counts since the cache was made, and what it holds now."""

    hits: int
    misses: int
    entries: int
    bytes: int


class StyleCache:
    """Tensors by key; the least recently used are dropped first. Threads may share it.

    A tensor that several threads ask for at once is computed once; the others wait for it.

    Args:
        max_bytes: of all tensors together; a single tensor that is larger is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._pending: dict[Hashable, Future[Tensor]] = {}
        self._bytes = self._hits = self._misses = 0

    def get(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """The tensor kept under `key`, else `make()`, which is then kept. Callers must not write into it."""
        with self._lock:
            if key in self._kept:
                self._hits += 1
                self._kept.move_to_end(key)
                return self._kept[key]
            ours = key not in self._pending
            self._misses += ours
            self._hits += not ours
            future = self._pending.setdefault(key, Future())
        if ours:
            try:
                future.set_result(make())
            except BaseException as error:
                future.set_exception(error)
            self._settle(key, future)
        return future.result()

    def figures(self) -> CacheFigures:
        with self._lock:
            return CacheFigures(self._hits, self._misses, len(self._kept), self._bytes)

    def _settle(self, key: Hashable, future: Future[Tensor]) -> None:
        """Keep what was made, if anything, and make room for it."""
        with self._lock:
            del self._pending[key]
            if future.exception() or future.result().nbytes > self._max_bytes:
                return
            self._kept[key] = future.result()
            self._bytes += future.result().nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


def content_hash(picture: Picture) -> str:
    """SHA-256 of the shape and the pixels of `(h, w, 3)`."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
