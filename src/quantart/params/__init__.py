"""Typed, strict, frozen view of `params.yaml`, which `quantart.params.file.load_params` reads.

Every parameter is here with its unit and range, and every combination that cannot work.
`params.select(["seed", "data.resolution", "stage1.base"])` gives these values and sections as nested plain dicts;
in a test, `view, read = recording(params)` (tests/params/recording.py) collects in `read` the keys read from `view`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import Field, model_validator

from quantart.params.data import DataParams
from quantart.params.evaluation import EvaluateParams, ExportParams, PromoteParams
from quantart.params.model import ModelParams
from quantart.params.section import Section
from quantart.params.training import SMALLEST_PAINTING, EncodeParams, Stage1Params, Stage2Params


class Params(Section):
    """All of `params.yaml`."""

    seed: int = Field(0, ge=0)
    data: DataParams
    model: ModelParams
    stage1: Stage1Params
    encode: EncodeParams
    stage2: Stage2Params
    evaluate: EvaluateParams
    export: ExportParams
    promote: PromoteParams

    def select(self, keys: Iterable[str]) -> dict[str, Any]:
        """The values of dotted keys, each a section or a single parameter, as nested plain dicts; else `KeyError`."""
        selected: dict[str, Any] = {}
        everything = self.model_dump()
        for key in keys:
            *sections, last = key.split(".")
            source, target = everything, selected
            try:
                for name in sections:
                    source, target = source[name], target.setdefault(name, {})
                target[last] = source[last]
            except (KeyError, TypeError):
                raise KeyError(key) from None
        return selected

    @model_validator(mode="after")
    def _check_crops(self) -> Params:
        down = self.model.downsampling
        crops = {"stage1.base.crop": self.stage1.base.crop, "stage1.domain.crop": self.stage1.domain.crop}
        judged = {"evaluate.size": self.evaluate.size}
        for key, pixels in {"data.resolution": self.data.resolution, **crops, **judged}.items():
            if pixels % down:
                raise ValueError(
                    f"{key} {pixels} is not divisible by the downsampling {down} "
                    f"(model.ch_mult has {len(self.model.ch_mult)} levels, model.patch is {self.model.patch}); "
                    f"use {pixels // down * down or down}"
                )
            if pixels > self.data.short_side and key not in judged:
                raise ValueError(f"{key} {pixels} is larger than data.short_side {self.data.short_side}")
        crop, pixels = self.stage2.train.crop, self.data.resolution
        if crop > pixels // down:
            has = f"{pixels // down} codes (data.resolution {pixels} / {down})"
            raise ValueError(f"stage2.train.crop {crop} is larger than the latents' side of {has}")
        if self.stage2.objective == "painting" and crop * down < SMALLEST_PAINTING:
            raise ValueError(
                f"stage2.train.crop {crop} is {crop * down} pixels, too small for objective painting; "
                f"use at least {-(-SMALLEST_PAINTING // down)} codes"
            )
        return self
