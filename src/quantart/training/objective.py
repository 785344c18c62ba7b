"""What the training objectives of both stages share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from quantart.losses.adversarial import AdversarialLoss

Phase = Literal["generator", "discriminator"]


class ObjectiveOutput(NamedTuple):
    loss: Tensor
    """0-d, to call `backward()` on."""
    logs: dict[str, Tensor]
    """Detached 0-d tensors."""


class Objective(nn.Module, ABC):
    """A model and its loss.

    `forward` is the whole loss of a step, so that it can be wrapped for several processes as a whole. It may use only
    some of the parameters: wrap it with `find_unused_parameters=True`.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def trained_parameters(self) -> list[nn.Parameter]:
        """Those of the model that the loss trains."""
        return [p for p in self.model.parameters() if p.requires_grad]

    @abstractmethod
    def forward(self, batch: Any, step: int) -> ObjectiveOutput:
        """The loss of the model for a batch at a step, counted from 0."""


class AdversarialObjective(Objective):
    """An objective with a second phase on the same batch, which trains the discriminator of its loss.

    Args:
        loss: may be without discriminator; then there is no second phase.
        reference_order: as in the reference, the discriminator's phase generates the fake again with the updated
            generator, and it also runs before the discriminator's start step. False: it uses the fake of the
            generator's phase, and both phases leave the discriminator out before its start step.
        learning_rate_factor: the discriminator's learning rate relative to the model's.
    """

    def __init__(
        self, model: nn.Module, loss: AdversarialLoss, *, reference_order: bool, learning_rate_factor: float
    ) -> None:
        super().__init__(model)
        self.loss = loss
        self.reference_order = reference_order
        self.learning_rate_factor = learning_rate_factor
        self._fake: Tensor | None = None

    def forward(self, batch: Any, step: int, phase: Phase = "generator") -> ObjectiveOutput:
        """The loss of one phase of a step."""
        if phase == "discriminator":
            return self._discriminator(batch, step)
        discriminator = self.loss.discriminator or nn.Identity()
        discriminator.requires_grad_(False)  # gradients pass through it, but its own parameters get none
        try:
            return self._generator(batch, step)
        finally:
            discriminator.requires_grad_(True)

    def discriminator_runs(self, step: int) -> bool:
        """Whether this step has a discriminator's phase."""
        return self.loss.discriminator is not None and (self.reference_order or self.loss.switched_on(step))

    def discriminator_parameters(self) -> list[nn.Parameter]:
        return [] if self.loss.discriminator is None else list(self.loss.discriminator.parameters())

    @abstractmethod
    def _generator(self, batch: Any, step: int) -> ObjectiveOutput: ...

    @abstractmethod
    def _discriminator(self, batch: Any, step: int) -> ObjectiveOutput: ...

    def _keep_fake(self, fake: Tensor) -> None:
        self._fake = None if self.reference_order else fake.detach()

    def _kept_fake(self) -> Tensor:
        if self._fake is None:
            raise RuntimeError("the generator's phase must come before the discriminator's")
        return self._fake
