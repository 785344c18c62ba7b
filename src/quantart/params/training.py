"""What the training runs of both stages have in common: the run itself and the discriminator."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field, model_validator

from quantart.params.section import Count, Fraction, Section, Weight

SMALLEST_PERCEPTUAL: Final = 32  # pixels; the perceptual networks cannot take smaller pictures


class TrainingParams(Section):
    """One training run. A step is one batch: the generator's update, then the discriminator's."""

    steps: Count
    batch_size: Count
    """over all processes together"""
    crop: Count
    """side of the training crops: pixels in stage 1, codes in stage 2"""
    learning_rate: float = Field(gt=0.0)
    betas: list[Fraction] = Field(min_length=2, max_length=2)
    weight_decay: Weight = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"
    grad_clip: float | None = Field(None, gt=0.0)
    """largest norm of the generator's gradient; null: no clipping"""
    weight_ema: Fraction = 0.0
    """decay of the moving average of the weights, which is saved; 0: save the last weights"""
    log_every: Count = 50
    """steps between two points of each logged curve"""
    validate_every: Count = 500
    checkpoint_every: Count = 500

    @model_validator(mode="after")
    def _check_intervals(self) -> TrainingParams:
        # otherwise a resumed run would log other means than an uninterrupted one
        if self.checkpoint_every % self.log_every:
            raise ValueError(f"checkpoint_every {self.checkpoint_every} is no multiple of log_every {self.log_every}")
        return self


class DiscriminatorParams(Section):
    """PatchGAN, on pictures in stage 1 and on latents in stage 2."""

    ndf: Count
    """channels of its first layer"""
    n_layers: int = Field(ge=0)
    """strided layers after the first"""
    loss: Literal["hinge", "vanilla"] = "hinge"
    weight: Weight
    """weight of the adversarial loss; stage 1: times the adaptive weight; stage 2: 0 turns it off"""
    learning_rate_factor: float = Field(1.0, gt=0.0)
    """its learning rate relative to the generator's"""
    reference_order: bool
    """true: as in the reference, the discriminator sees a second forward pass of the updated generator and also runs
    before it is switched on; false: one forward pass per step, and none before it is switched on"""

    def check_input(self, side: int) -> None:
        """Raise `ValueError` if inputs of this side are too small for all layers."""
        # one strided layer, n_layers - 1 more, then two 4 × 4 layers that each take one off the side
        if side // 2 ** max(self.n_layers, 1) - 2 < 1:
            raise ValueError(
                f"discriminator.n_layers {self.n_layers} is too many for inputs of side {side}, which shrink to "
                "nothing; use fewer layers or a larger crop"
            )
