"""Means of the logged values over an interval of steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor


class Means:
    """Sums and counts of 0-d tensors, kept on the device until they are taken.

    They are part of a checkpoint: one that is written within an interval must not change what the interval logs.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._values: list[tuple[int, Mapping[str, Tensor]]] = []

    def add(self, values: Mapping[str, Tensor], step: int) -> None:
        """Add detached values of a step; several calls may have the same step, no call an earlier one."""
        self._values.append((step, values))
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over the interval and over all processes, in one transfer; a new interval begins."""
        names = sorted(self._sums)
        means = torch.stack([self._sums[name].to(accelerator.device) / self._counts[name] for name in names])
        means = accelerator.reduce(means, reduction="mean")
        self._sums, self._counts, self._values = {}, {}, []
        return dict(zip(names, means.tolist(), strict=True))

    def peek(self, accelerator: Accelerator) -> dict[str, float]:
        """The sums so far, the mean over all processes: finite as long as every value was.

        Every process goes on with them, so that a checkpoint of the first one's holds what all have seen.
        """
        names = sorted(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[name].to(accelerator.device) for name in names])
        sums = accelerator.reduce(sums, reduction="mean")
        self._sums = dict(zip(names, sums.unbind(), strict=True))
        return dict(zip(names, sums.tolist(), strict=True))

    def first_not_finite(self) -> tuple[int, list[str]] | None:
        """The step since the last `take` from which on this process's sums are not finite, and the names of these.

        It reads every value: to be asked once `peek` has shown that there is one.
        """
        sums: dict[str, Tensor] = {}
        bad: dict[int, list[str]] = {}
        for step, values in self._values:
            for name, value in values.items():
                sums[name] = value.float() + sums.get(name, 0.0)
                if not sums[name].isfinite():
                    bad.setdefault(step, []).append(name)
        return min(bad.items(), default=None)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: `sum/…` and `count/…` of each value."""
        sums = {f"sum/{name}": value for name, value in self._sums.items()}
        return sums | {f"count/{name}": torch.tensor(count) for name, count in self._counts.items()}

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `tensors()` gave."""
        names = [key.removeprefix("sum/") for key in tensors if key.startswith("sum/")]
        self._sums = {name: tensors[f"sum/{name}"] for name in names}
        self._counts = {name: int(tensors[f"count/{name}"]) for name in names}
