"""What is kept of pictures that come again."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from quantart.images.arrays import Picture


class HasBytes(Protocol):
    @property
    def nbytes(self) -> int: ...


Kept = TypeVar("Kept", bound=HasBytes)


class CacheFigures(NamedTuple):
    """Counts since the cache was made, and what it holds now."""

    hits: int
    misses: int
    entries: int
    bytes: int


class LatentCache(Generic[Kept]):
    """Latents or features of pictures by key; the least recently used are dropped first. Threads may share it.

    What several threads ask for at once is computed once; the others wait for it. All together have at most
    `max_bytes`; what is larger by itself is not kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = Lock()
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._pending: dict[Hashable, Future[Kept]] = {}
        self._bytes = self._hits = self._misses = 0

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under `key`, else `make()`, which is then kept. Callers must not write into it."""
        with self._lock:
            if key in self._kept:
                self._hits += 1
                self._kept.move_to_end(key)
                return self._kept[key]
            if pending := self._pending.get(key):
                self._hits += 1
            else:
                self._misses += 1
                ours = self._pending[key] = Future[Kept]()
        if pending:
            return pending.result()
        try:
            ours.set_result(make())
        except BaseException as error:
            ours.set_exception(error)
        with self._lock:
            del self._pending[key]
            if not ours.exception() and ours.result().nbytes <= self._max_bytes:
                self._kept[key] = ours.result()
                self._bytes += ours.result().nbytes
                while self._bytes > self._max_bytes:
                    self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return ours.result()

    def figures(self) -> CacheFigures:
        with self._lock:
            return CacheFigures(self._hits, self._misses, len(self._kept), self._bytes)


def content_hash(picture: Picture) -> str:
    """SHA-256 of the shape and the pixels of `(h, w, 3)`."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
