"""Alpha and beta, the controls of `FidelityControl`, as checked values. Nothing here needs torch."""

from __future__ import annotations

from collections.abc import Collection
from numbers import Real
from typing import Any, NamedTuple

from quantart.errors import UserError
from quantart.vocabulary.names import Variant

ALPHA_OF: dict[Variant, float] = {"discrete": 1.0, "continuous": 0.0}
"""The alpha at which only this variant is used."""


class Fidelity(NamedTuple):
    """Checked values of both controls."""

    alpha: float
    """Visual fidelity in [0, 1]; 1: discrete, 0: continuous."""
    beta: float
    """Style fidelity in [0, 1]; 1: style, 0: content."""

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The models that take part."""
        # alpha 1 leaves the continuous one out, alpha 0 the discrete one
        return tuple(variant for variant, alone in ALPHA_OF.items() if self.alpha != 1.0 - alone)

    @property
    def styled(self) -> tuple[Variant, ...]:
        """Those of them that need the style."""
        return self.variants if self.beta > 0.0 else ()

    @property
    def name(self) -> str:
        """Safe in file names and different for every pair of values, e.g. `a0.50_b1.00`."""
        alpha, beta = (text if float(text := f"{value:.2f}") == value else repr(value) for value in self)
        return f"a{alpha}_b{beta}"


def checked_fidelity(
    alpha: float | None, beta: float, available: Collection[Variant], default: Variant = "discrete"
) -> Fidelity:
    """Both controls, checked against the available models.

    Args:
        alpha: None: the alpha at which only `default` is used, or the only available model.
        available: at least one variant.

    Raises:
        UserError: a value is not a number in [0, 1], or alpha needs a model that is not available.
    """
    if alpha is None:
        alpha = ALPHA_OF[default if default in available else next(iter(available))]
    fidelity = Fidelity(
        _checked("alpha", alpha, "0 (continuous) to 1 (discrete)"), _checked("beta", beta, "0 (content) to 1 (style)")
    )
    if missing := [variant for variant in fidelity.variants if variant not in available]:
        (only,) = available
        raise UserError(
            f"alpha = {fidelity.alpha:g}: needs the {missing[0]} network, and only the {only} one is here",
            f"leave alpha at {ALPHA_OF[only]:g} or add the {missing[0]} network",
        )
    return fidelity


def _checked(name: str, value: Any, span: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0.0 <= float(value) <= 1.0:
        raise UserError(f"{name} = {value!r}: must be a number from {span}")
    return float(value)
