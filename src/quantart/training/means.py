"""Means of the logged values over an interval of steps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor


class Means:
    """Sums and counts of 0-d tensors, kept on the device until they are taken.

    They are part of a checkpoint, so that resuming within an interval does not change what the interval logs.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}
        self._values: list[tuple[int, Mapping[str, Tensor]]] = []

    def add(self, values: Mapping[str, Tensor], step: int) -> None:
        """Add detached values of a step; later calls have the same step or a later one."""
        self._values.append((step, values))
        for name, value in values.items():
            value = value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1

    def take(self, accelerator: Accelerator) -> dict[str, float]:
        """The means over the interval and all processes; then start a new interval."""
        means = {name: value / self._counts[name] for name, value in self.synchronise(accelerator).items()}
        self._sums, self._counts, self._values = {}, {}, []
        return means

    def synchronise(self, accelerator: Accelerator) -> dict[str, float]:
        """Give every process the mean of all processes' sums, and return these; finite as long as every value was.

        So the first process's checkpoint holds what all have seen.
        """
        names = sorted(self._sums)
        if not names:
            return {}
        sums = torch.stack([self._sums[name].to(accelerator.device) for name in names])
        sums = accelerator.reduce(sums, reduction="mean")
        self._sums = dict(zip(names, sums.unbind(), strict=True))
        return dict(zip(names, sums.tolist(), strict=True))

    def first_not_finite(self) -> tuple[int, list[str]] | None:
        """The first step since the last `take` after which sums of this process are not finite, and their names.

        It reads every value from the device, so call it only where `synchronise` shows that there is one.
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
        """Continue from what `tensors()` returned."""
        names = [key.removeprefix("sum/") for key in tensors if key.startswith("sum/")]
        self._sums = {name: tensors[f"sum/{name}"] for name in names}
        self._counts = {name: int(tensors[f"count/{name}"]) for name in names}
