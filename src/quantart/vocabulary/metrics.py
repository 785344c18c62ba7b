"""The names of the metrics of style transfer, which of them come first, and which way a metric is better."""

from __future__ import annotations

import difflib
from typing import Final

MODEL: Final = "model"
"""Among the methods of an evaluation the network itself; the others are baselines."""

# What the names of kinds of metrics begin with; a network's name may follow.
CONTENT_DISTANCES: Final = ("lpips_", "perceptual_")
FRECHET_NAMES: Final = ("fd_", "fid")
KERNEL_NAMES: Final = ("kd_", "kid")
COMPOSITE_NAMES: Final = ("composite_",)
HEADLINES: Final = (
    *("psnr", "delta_e", *CONTENT_DISTANCES, "gram_", "cfsd_"),
    *(*FRECHET_NAMES, *KERNEL_NAMES, *COMPOSITE_NAMES, "usage"),
)
"""Those of a report's `metrics.json`; the rest is in its summary."""
FEW_HEADLINES: Final = (*CONTENT_DISTANCES, "gram_", *KERNEL_NAMES)
"""Those that a row of a list has room for."""

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
    """`name`, if an evaluation of style transfer can measure a metric of that name.

    Raises:
        ValueError: it can't; says which names are near.
    """
    if name in METRICS:
        return name
    near = difflib.get_close_matches(name, sorted(METRICS), n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else "`quantart registry show` lists those of a version"
    raise ValueError(f"{name!r} is no metric of an evaluation; {hint}")


def larger_is_better(metric: str) -> bool:
    """Of the codebook's use, and of PSNR and SSIM, which reconstructions have; all the others are distances."""
    return metric in _LARGER_IS_BETTER
