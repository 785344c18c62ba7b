"""Finds a network among the tensors of a checkpoint: under a prefix, in a trainer's wrappers, as a moving average."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from quantart.errors import UserError
from quantart.models.pretrained import some
from quantart.models.reference_config import Settings

FIRST = "encoder.conv_in.weight"  # every network has it: what stands before it is the network's prefix
LIGHTNING = "state_dict."  # no prefix of the trainer's, but where Lightning puts all weights
LIT_EMA = "model_ema."  # of latent diffusion: averages beside the weights, under their names without dots
COUNTER = "n_averaged"  # torch's AveragedModel has it beside the weights
# DistributedDataParallel and AveragedModel, torch.compile, FSDP, activation checkpointing, Fabric
WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module"}
_AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?|shadow)([._]|$)", re.IGNORECASE)
EMA = "moving averages of the weights, which --ema would take"
REST = "rest of the file"


class Found(NamedTuple):
    """A network's tensors under its own names."""

    state: dict[str, Tensor]
    prefix: str  # that these names had; empty if none
    dropped: dict[str, int]  # what was left out, with the number of its tensors


def find_network(tensors: Mapping[str, Tensor], settings: Settings, source: str) -> Found:
    """The one network among `tensors`, whose keys are dotted paths, or the one that `settings` names.

    Raises:
        UserError: there are several, or none under the prefix or with the averages that `settings` asks for.
    """
    state = _unwrapped(tensors)
    prefixes = sorted(key.removesuffix(FIRST) for key in state if key == FIRST or key.endswith(f".{FIRST}"))
    prefix = _chosen(prefixes, state, settings, source)
    others = tuple(other for other in prefixes if other.startswith(prefix) and other != prefix)
    kept = {
        key.removeprefix(prefix): value
        for key, value in state.items()
        if key.startswith(prefix) and not key.startswith(others) and key != prefix + COUNTER
    }
    rest = len(state) - len(kept)
    averages = {key.removeprefix(LIT_EMA): kept.pop(key) for key in list(kept) if key.startswith(LIT_EMA)}
    if settings.ema and not averages and not _AVERAGE.search(prefix):
        raise UserError(f"{source}: holds no moving averages (EMA) of {_named(prefix) or 'these '}*", "leave out --ema")
    if settings.ema and averages:
        return Found(_averaged(kept, averages, source), _named(prefix) + LIT_EMA, {REST: rest})
    unused = tuple(other for other in prefixes if other != prefix and _AVERAGE.search(other))
    beside = sum(key.startswith(unused) for key in state)
    return Found(kept, _named(prefix), {EMA: beside + len(averages), REST: rest - beside})


def _unwrapped(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the names of wrappers, unless two keys would then be the same."""
    bare = {".".join(name for name in key.split(".") if name not in WRAPPERS): value for key, value in tensors.items()}
    return bare if len(bare) == len(tensors) else dict(tensors)


def _chosen(prefixes: list[str], state: Mapping[str, Tensor], settings: Settings, source: str) -> str:
    there = ", ".join(_named(prefix) or "(no prefix)" for prefix in prefixes)
    if settings.prefix is not None:
        wanted = f"{settings.prefix.rstrip('.')}." if settings.prefix else ""
        fitting = [prefix for prefix in prefixes if _named(prefix) == wanted]
        if not fitting:
            raise UserError(f"{source}: no network under --prefix {settings.prefix!r}", f"there are: {there or 'none'}")
        return fitting[0]
    beside = [prefix for prefix in prefixes if not _AVERAGE.search(prefix)]
    averages = [prefix for prefix in prefixes if _AVERAGE.search(prefix)]
    if settings.ema:
        fitting = (
            averages or [each for each in beside if any(key.startswith(each + LIT_EMA) for key in state)] or beside
        )
    else:
        fitting = beside or averages
    if len(fitting) > 1:
        raise UserError(f"{source}: holds several networks, under {there}", "name one with --prefix")
    return fitting[0] if fitting else LIGHTNING if any(key.startswith(LIGHTNING) for key in state) else ""


def _averaged(state: dict[str, Tensor], averages: Mapping[str, Tensor], source: str) -> dict[str, Tensor]:
    """The weights replaced by their averages; the losses' networks may have none."""
    flat = {key: key.replace(".", "") for key in state}
    if lacking := [key for key, name in flat.items() if name not in averages and not key.startswith("loss.")]:
        raise UserError(f"{source}: its moving averages (EMA) lack: {some(lacking)}", "leave out --ema")
    return {key: averages.get(flat[key], value) for key, value in state.items()}


def _named(prefix: str) -> str:
    return prefix.removeprefix(LIGHTNING)
