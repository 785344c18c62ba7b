"""The metrics of style transfer: their names, which come first, and whether larger or smaller is better."""

from __future__ import annotations

import difflib
from typing import Final

MODEL: Final = "model"
"""The network itself among the methods of an evaluation; the others are baselines."""

# Beginnings of the names of a kind of metrics; a network's name may follow.
CONTENT_DISTANCES: Final = ("lpips_", "perceptual_")
FRECHET_NAMES: Final = ("fd_", "fid")
KERNEL_NAMES: Final = ("kd_", "kid")
COMPOSITE_NAMES: Final = ("composite_",)
HEADLINES: Final = (
    *("psnr", "delta_e", *CONTENT_DISTANCES, "gram_", "cfsd_"),
    *(*FRECHET_NAMES, *KERNEL_NAMES, *COMPOSITE_NAMES, "usage"),
)
"""Metrics in a report's `metrics.json`; the others are only in its summary."""
FEW_HEADLINES: Final = (*CONTENT_DISTANCES, "gram_", *KERNEL_NAMES)
"""Metrics in a row of a list."""

_PERCEPTUAL = ("vgg16", "alexnet", "squeezenet1_1", "efficientnet_lite0")
_FEATURES = (*_PERCEPTUAL, "inception_v3")
_LARGER_IS_BETTER: Final = frozenset({"usage", "perplexity", "psnr", "ssim"})

METRICS: Final = frozenset(
    [
        *("lpips_vgg16", "lpips_alexnet", "perceptual_squeezenet1_1", "perceptual_efficientnet_lite0"),
        *(f"{metric}_{net}" for metric in ("cfsd", "gram", "meanstd", "pair_composite") for net in _PERCEPTUAL),
        *("colour_rgb", "latent_content", "latent_style"),
        *("fid", "kid", *(f"{metric}_{features}" for metric in ("fd", "kd") for features in _FEATURES)),
        *(f"composite_{net}_{features}" for net in _PERCEPTUAL for features in _FEATURES),
        *("usage", "perplexity"),
    ]
)


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
