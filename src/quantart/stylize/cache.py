"""What is kept of pictures that come again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from threading import Condition
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from cachetools import LRUCache, cached

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
        self._kept: LRUCache[Hashable, Kept] = LRUCache(max_bytes, getsizeof=lambda kept: kept.nbytes)
        self._get = cached(self._kept, key=lambda key, make: key, condition=Condition(), info=True)(_made)

    def get(self, key: Hashable, make: Callable[[], Kept]) -> Kept:
        """What is kept under `key`, else `make()`, which is then kept. Callers must not write into it."""
        found: Kept = self._get(key, make)
        return found

    def figures(self) -> CacheFigures:
        hits, misses, _, size = self._get.cache_info()
        return CacheFigures(hits, misses, len(self._kept), int(size))


def _made(key: Hashable, make: Callable[[], Kept]) -> Kept:
    return make()


def content_hash(picture: Picture) -> str:
    """SHA-256 of the shape and the pixels of `(h, w, 3)`."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
