"""The stages of dvc.yaml: which code computes each one's result, and which parameters decide it.

The entry modules say what is computed and know nothing of tracking or of the project's folders. What runs them (the
other modules of this room) is none of the stage's dependencies: a change there does not change a result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantart.params import Params


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml, or several that differ in their domain or variant alone."""

    entries: tuple[str, ...]  # dotted names of the modules that compute the result
    reads: tuple[str, ...]  # keys of params.yaml that decide it, sections or single values; `{item}`: the domain

    def keys(self, item: str = "") -> list[str]:
        """The keys that decide the stage's result for a domain or variant."""
        return [key.format(item=item) for key in self.reads]


_SIZES = ("data.short_side", "data.resize", "data.max_aspect", "data.max_pixels", "data.max_rejected_share")
_STAGE1 = ("seed", "data.resolution", "model", "stage1.quantizer", "stage1.loss", "stage1.discriminator")

STAGES = {
    "prepare": Stage(
        ("quantart.data.prepare",),
        ("data.{item}", "data.{item}_table", "data.paired", "data.val_share", "data.test_share", *_SIZES),
    ),
    "pair": Stage(("quantart.data.pairing",), ("seed", "data.paired", "evaluate.pairs")),
    "stage1_base": Stage(
        ("quantart.pipeline.stage1_task",), (*_STAGE1, "stage1.base", "stage1.colour_gain", "stage1.init_from")
    ),
    "stage1": Stage(("quantart.pipeline.stage1_task",), (*_STAGE1, "stage1.domain", "stage1.{item}_from")),
    "encode": Stage(
        ("quantart.data.encoding",), ("seed", "data.paired", "data.resolution", "encode", "stage2.objective")
    ),
    "stage2": Stage(("quantart.pipeline.stage2_task",), ("seed", "data.paired", "data.resolution", "stage2")),
    "evaluate": Stage(
        ("quantart.pipeline.measure", "quantart.data.originals"),
        (
            *("evaluate.network", "evaluate.features", "evaluate.size", "evaluate.batch_size"),
            *("evaluate.magenta", "evaluate.refine"),
            *("data.resize", "data.max_aspect", "data.max_pixels"),
        ),
    ),
    "export": Stage(("quantart.serving.model", "quantart.serving.package", "quantart.registry.card"), ("export",)),
}
"""By the name of the file with the checksums of its code, which is the stage's name in dvc.yaml."""


def split_name(name: str) -> tuple[str, str]:
    """The family and the domain or variant in a stage's file-safe name: `stage1_content` → `stage1`, `content`."""
    family, _, item = name.partition("_")
    return family, item


def find_stage(name: str) -> tuple[Stage, str]:
    """The stage of a file-safe name, and the domain or variant in the name."""
    family, item = split_name(name)
    return STAGES.get(name) or STAGES[family], item


def stage_parameters(params: Params, name: str) -> dict[str, Any]:
    """What the training of that name reads, nested as in params.yaml, and its domain or variant."""
    stage, item = find_stage(name)
    which = "variant" if split_name(name)[0] == "stage2" else "domain"
    return {which: item} | params.select(stage.keys(item))
