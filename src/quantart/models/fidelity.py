"""Fidelity control: between a discrete and a continuous model, and between style and content (Huang et al. 2023).

z = mix(α, mix(β, zq_y, zq_c), mix(β, z_y, z_c)) with mix(p, u, v) = p·u + (1 − p)·v, where q marks the discrete
model's codes, y the styled latents and c the content's. The weights of the decoders are mixed by α too. The
models, which must have one shape, do not change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn

from quantart.errors import UserError
from quantart.models.alpha_beta import Fidelity, checked_fidelity
from quantart.models.stage_2 import ExperimentStage2
from quantart.vocabulary.names import Variant


class FidelityControl(nn.Module):
    """One or two trained models of one shape, used with a visual fidelity α and a style fidelity β for each call.

    With only one model, α is fixed by its variant. Several threads may use it. The decoders mixed for the last alpha
    are kept, so the weights of the models must not change any more.

    Args:
        discrete, continuous: models of these variants. Mixtures make sense if both stand on the same stage-1 models, as
            the pipeline trains them. From now on the two share every part in which they are equal.

    Attributes:
        models: those that were given.

    Raises:
        UserError: no model, one of the other variant, or two whose shapes differ.
    """

    def __init__(self, discrete: ExperimentStage2 | None, continuous: ExperimentStage2 | None) -> None:
        super().__init__()
        given: dict[Variant, ExperimentStage2 | None] = {"discrete": discrete, "continuous": continuous}
        models: dict[Variant, ExperimentStage2] = {v: model for v, model in given.items() if model is not None}
        if not models:
            raise UserError("fidelity control: no network was given", "give a discrete or a continuous one")
        for variant, model in models.items():
            if model.variant != variant:
                raise UserError(f"fidelity control: the network given as the {variant} one is {model.variant}")
        if discrete is not None and continuous is not None:
            _check_alike(discrete, continuous)
            _share_equal(discrete, continuous)
        self.discrete = discrete
        self.continuous = continuous
        self.models = models
        # in a tuple, so that it is no part of the weights; replaced as a whole, so that threads need no lock
        self._mixed: tuple[tuple[float, torch.device, bool], nn.Module] | None = None

    @classmethod
    def of(cls, *models: ExperimentStage2) -> Self:
        """Of one model, or of two of different variants.

        Raises:
            UserError: as above, or two models of one variant.
        """
        by_variant = {model.variant: model for model in models}
        if len(by_variant) < len(models):
            raise UserError(
                f"fidelity control: {len(models)} networks are {models[0].variant}", "give at most one of each variant"
            )
        return cls(by_variant.get("discrete"), by_variant.get("continuous"))

    @property
    def ddconfig(self) -> dict[str, Any]:
        """Shape of the encoders and decoders."""
        ddconfig: dict[str, Any] = next(iter(self.models.values())).config["ddconfig"]
        return ddconfig

    def fidelity(self, alpha: float | None = None, beta: float = 1.0) -> Fidelity:
        """`checked_fidelity` for these models; the default alpha is 1 if one of them is discrete, else 0."""
        return checked_fidelity(alpha, beta, self.models)

    def forward(self, content: Tensor, style: Tensor, alpha: float | None = None, beta: float = 1.0) -> Tensor:
        """Pictures `(b, 3, h, w)` in [-1, 1] to stylised pictures of the content's size, not clamped.

        At alpha 1 or 0 only one model runs; with beta 1 its output is exactly that of the model by itself. At beta 0 no
        transfer network runs. The values and errors of `alpha` and `beta` are those of `checked_fidelity`.
        """
        fidelity = self.fidelity(alpha, beta)
        return self.decode(self.latents(content, style, fidelity), fidelity)

    def latents(self, content: Tensor, style: Tensor, fidelity: Fidelity) -> Tensor:
        """Pictures `(b, 3, h, w)` in [-1, 1] to the latents `(b, c, h / f, w / f)` that `decode` takes."""
        contents = {v: self.models[v].content_latents(content) for v in fidelity.variants}
        styles = {v: self.models[v].style_features(style) for v in fidelity.styled}
        styled = {v: self.models[v].transfer(contents[v], styles[v]).z for v in fidelity.styled}
        return self.mixed_latents(contents, styled, fidelity)

    def mixed_latents(
        self, contents: Mapping[Variant, Tensor], styled: Mapping[Variant, Tensor], fidelity: Fidelity
    ) -> Tensor:
        """Latents `(b, c, h, w)` of several models to those that `decode` takes.

        Args:
            contents: the `content_latents` of each of `fidelity.variants`.
            styled: the `transfer` of these by each of `fidelity.styled`.
        """
        latents: dict[Variant, Tensor] = {}
        for variant in fidelity.variants:
            z = contents[variant]
            if fidelity.beta > 0.0:
                z_y = styled[variant]
                z = z_y if fidelity.beta == 1.0 else self.models[variant].projected(torch.lerp(z, z_y, fidelity.beta))
            latents[variant] = z
        if len(latents) == 1:
            return latents[fidelity.variants[0]]
        return torch.lerp(latents["continuous"], latents["discrete"], fidelity.alpha)

    def decode(self, z: Tensor, fidelity: Fidelity) -> Tensor:
        """Latents `(b, c, h, w)` to pictures `(b, 3, f·h, f·w)`, not clamped."""
        if self.discrete is not None and self.continuous is not None and len(fidelity.variants) == 2:
            return self._mixed_decoder(self.discrete, self.continuous, fidelity.alpha)(z)
        return self.models[fidelity.variants[0]].decode(z)

    def _mixed_decoder(self, discrete: ExperimentStage2, continuous: ExperimentStage2, alpha: float) -> nn.Module:
        key = (alpha, next(discrete.parameters()).device, discrete.training)
        kept = self._mixed
        if kept is None or kept[0] != key:
            self._mixed = kept = None  # its memory is free before another one is made
            self._mixed = kept = key, mixed_decoder(discrete, continuous, alpha)
        return kept[1]


def mixed_decoder(discrete: ExperimentStage2, continuous: ExperimentStage2, alpha: float) -> nn.Module:
    """Latents to pictures with the weights alpha · discrete + (1 - alpha) · continuous, without gradients.

    It has weights of its own, except for parts that the two models share, which are the same at any alpha.
    """
    parts = []
    for name in ("post_quant_conv", "decoder"):
        part = discrete.get_submodule(name)
        if part is continuous.get_submodule(name):
            parts.append(part)
            continue
        plain = dict(continuous.get_submodule(name).named_parameters())
        # deepcopy takes the mixed weights for copies that it has made already. Swapping them in the network itself, as
        # torch's functional_call does, would spoil what another thread decodes at the same time. The decoder is kept,
        # so its weights must not be made in inference mode: they could not be used outside of it
        with torch.inference_mode(False), torch.no_grad():
            mixed = {
                id(coded): nn.Parameter(torch.lerp(plain[key], coded, alpha), requires_grad=False)
                for key, coded in part.named_parameters()
            }
        parts.append(copy.deepcopy(part, mixed))
    return nn.Sequential(*parts)


def _share_equal(discrete: ExperimentStage2, continuous: ExperimentStage2) -> None:
    """Keep encoders, codebooks and decoders that have the same weights once, not twice."""
    for name, other in list(continuous.named_children()):
        part = discrete.get_submodule(name)
        ours, others = part.state_dict(), other.state_dict()
        if ours.keys() == others.keys() and all(torch.equal(ours[key], others[key]) for key in ours):
            setattr(continuous, name, part)


def _check_alike(discrete: ExperimentStage2, continuous: ExperimentStage2) -> None:
    """What is mixed must have one shape; each transfer network may have its own."""
    keys = ("embed_dim", "cosine")
    one, other = ({**m.config["ddconfig"], **{key: m.config[key] for key in keys}} for m in (discrete, continuous))
    differing = [f"{k} ({one.get(k)} and {other.get(k)})" for k in one | other if one.get(k) != other.get(k)]
    if differing:
        raise UserError(
            f"the discrete and the continuous network differ in {', '.join(differing)}", "give two of one shape"
        )
