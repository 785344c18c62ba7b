"""The metrics of style transfer: names, which come first, whether larger or smaller is better, and limits on them."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Final, get_args

from quantart.vocabulary.names import FeatureNetworkName, PerceptualNetworkName

# Beginnings of the names of a kind of metrics; a network's name may follow.
CONTENT_DISTANCES: Final = ("lpips_", "perceptual_")
FRECHET_NAMES: Final = ("fd_", "fid")
KERNEL_NAMES: Final = ("kd_", "kid")
COMPOSITE_NAMES: Final = ("composite_",)
TEXTURE: Final = "texture_"
STRUCTURE: Final = "structure_"
FEW_HEADLINES: Final = (TEXTURE, STRUCTURE, "colour_rgb")
"""What says most of a style transfer: the painting's hand, the photograph's content, the painting's colours."""
HEADLINES: Final = (*FEW_HEADLINES, "psnr", "delta_e", *CONTENT_DISTANCES, *KERNEL_NAMES, "usage")
"""Metrics in a report's `metrics.json`; the others are only in its summary."""

_PERCEPTUAL, _FEATURES = get_args(PerceptualNetworkName), get_args(FeatureNetworkName)
_LARGER_IS_BETTER: Final = frozenset({"usage", "perplexity", "psnr", "ssim"})

METRICS: Final = frozenset(
    [
        *("lpips_vgg16", "lpips_alexnet", "perceptual_squeezenet1_1", "perceptual_efficientnet_lite0"),
        *(f"{metric}_{net}" for metric in ("texture", "structure", "cfsd", "gram", "meanstd") for net in _PERCEPTUAL),
        *("colour_rgb", "latent_content", "latent_style"),
        *("fid", "kid", *(f"{metric}_{features}" for metric in ("fd", "kd") for features in _FEATURES)),
        *(f"composite_{net}_{features}" for net in _PERCEPTUAL for features in _FEATURES),
        *("usage", "perplexity"),
    ]
)
_LIMIT = re.compile(r"\s*(\w+)\s*(<=|>=)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*")


def check_metric(name: str) -> str:
    """`name`, if it is a metric that an evaluation measures; else `ValueError`, whose message has similar names."""
    if name in METRICS:
        return name
    near = difflib.get_close_matches(name, sorted(METRICS), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "`quantart registry show` lists the metrics of a version"
    raise ValueError(f"{name!r} is not a metric of an evaluation; {hint}")


def larger_is_better(metric: str) -> bool:
    """True for the use of the codebook, and for PSNR and SSIM of reconstructions; all others are distances."""
    return metric in _LARGER_IS_BETTER


@dataclass(frozen=True)
class Limit:
    """`metric <= bound` or, where `at_most` is false, `metric >= bound`."""

    metric: str
    at_most: bool
    bound: float

    def holds(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{self.metric} {'<=' if self.at_most else '>='} {self.bound:g}"


def parse_limit(text: str) -> Limit:
    """Read `gram_squeezenet1_1 <= 1.1`, or `usage >= 0.5` for a metric where larger is better; else `ValueError`."""
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a limit; write `metric <= number`, or `usage >= number`")
    limit = Limit(check_metric(match[1]), match[2] == "<=", float(match[3]))
    if limit.at_most == larger_is_better(limit.metric):
        better, sign = ("larger", ">=") if limit.at_most else ("smaller", "<=")
        raise ValueError(f"{text!r} would refuse good values: {better} {limit.metric} is better; use {sign}")
    return limit
