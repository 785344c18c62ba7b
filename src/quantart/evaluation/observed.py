"""Pictures together with the statistics that the metrics need, each computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor

from quantart.evaluation.metrics import colour_statistics
from quantart.evaluation.networks import FeatureNetwork
from quantart.evaluation.texture import Texture, texture_of
from quantart.losses.lpips import LPIPS
from quantart.losses.statistics import gram_matrix, moments

Value = TypeVar("Value")


class Perception(NamedTuple):
    """The networks that pictures are judged by, on the model's device."""

    lpips: LPIPS
    """Of the distances within pairs."""
    pool: FeatureNetwork
    """Of the distances between sets."""
    textures: Sequence[LPIPS] = ()
    """Those that judge texture and structure."""

    @property
    def set_metrics(self) -> tuple[str, str, str]:
        """Names of the Fréchet distance, the kernel distance, and the composite of content and Fréchet distance."""
        frechet = self.pool.frechet
        return frechet, self.pool.kernel, f"composite_{self.lpips.network}_{frechet.removeprefix('fd_')}"


class Observed(NamedTuple):
    """A batch of pictures and their statistics. `features`, `grams` and `moments` have one entry for each layer of
    `Perception.lpips`."""

    pictures: Tensor
    """`(b, 3, h, w)` in [-1, 1]."""
    latents: Tensor
    indices: Tensor | None
    """Both as in `Rendering`."""
    features: list[Tensor]
    """`(b, c, h, w)` each."""
    grams: list[Tensor]
    """`(b, c, c)` each."""
    moments: list[Tensor]
    """`(b, 2c)` each."""
    colours: Tensor
    """`(b, 6)`, from `colour_statistics`."""
    pooled: Tensor
    """`(b, d)`, from the `FeatureNetwork`."""
    textures: list[Texture]
    """One for each network that judges texture."""

    def rows(self) -> list[Observed]:
        """The pictures one by one, each as a batch of one."""
        return [Observed(*(_row(value, i) for value in self)) for i in range(len(self.pictures))]

    @classmethod
    def join(cls, rows: Sequence[Observed]) -> Observed:
        """The reverse of `rows`."""
        return cls(*map(_join, zip(*rows, strict=True)))


def observe(perception: Perception, pictures: Tensor, latents: Tensor, indices: Tensor | None = None) -> Observed:
    """Pass pictures `(b, 3, h, w)` in [-1, 1] through the networks."""
    features = perception.lpips.features(pictures)
    return Observed(
        pictures=pictures,
        latents=latents,
        indices=indices,
        features=features,
        grams=[gram_matrix(layer) for layer in features],
        moments=[moments(layer) for layer in features],
        colours=colour_statistics(pictures),
        pooled=perception.pool(pictures),
        textures=[texture_of(network, pictures) for network in perception.textures],
    )


class RecentlyUsed(Generic[Value]):
    """Values by index, computed in batches. Only the `keep` most recently used ones stay in memory."""

    def __init__(self, compute: Callable[[list[int]], list[Value]], keep: int) -> None:
        self._compute = compute
        self._keep = keep
        self._kept: dict[int, Value] = {}

    def __call__(self, indices: Sequence[int]) -> list[Value]:
        """The values of `indices`, in this order; an index may occur several times."""
        missing = [index for index in dict.fromkeys(indices) if index not in self._kept]
        known = self._kept | (dict(zip(missing, self._compute(missing), strict=True)) if missing else {})
        recent_last = [i for i in known if i not in indices] + list(dict.fromkeys(indices))
        self._kept = {index: known[index] for index in recent_last[-self._keep :]}
        return [known[index] for index in indices]


def _row(value: Any, index: int) -> Any:
    if isinstance(value, Tensor):
        return value[index : index + 1].clone()  # a view of one row would keep the whole batch in memory
    return None if value is None else _like(value, [_row(each, index) for each in value])


def _join(values: tuple[Any, ...]) -> Any:
    if isinstance(values[0], Tensor):
        return torch.cat(values)
    return None if values[0] is None else _like(values[0], list(map(_join, zip(*values, strict=True))))


def _like(value: list[Any] | Texture, parts: list[Any]) -> list[Any] | Texture:
    return Texture(*parts) if isinstance(value, Texture) else parts
