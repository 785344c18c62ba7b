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

from quantart.images import Picture


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
            waiting = self._pending.get(key)
            if waiting is None:
                self._misses += 1
                made = self._pending[key] = Future()
            else:
                self._hits += 1
        if waiting is not None:
            return waiting.result()
        try:
            tensor = make()
        except BaseException as error:
            with self._lock:
                del self._pending[key]
            made.set_exception(error)
            raise
        self._keep(key, tensor)
        made.set_result(tensor)
        return tensor

    def figures(self) -> CacheFigures:
        with self._lock:
            return CacheFigures(self._hits, self._misses, len(self._kept), self._bytes)

    def _keep(self, key: Hashable, tensor: Tensor) -> None:
        with self._lock:
            del self._pending[key]
            if tensor.nbytes > self._max_bytes:
                return
            self._kept[key] = tensor
            self._bytes += tensor.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes


def content_hash(picture: Picture) -> str:
    """SHA-256 of the shape and the pixels of `(h, w, 3)`."""
    digest = hashlib.sha256(repr(picture.shape).encode())
    digest.update(np.ascontiguousarray(picture).data)
    return digest.hexdigest()
