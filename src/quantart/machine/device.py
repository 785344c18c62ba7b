"""The device and the precision of networks, as Accelerate's configuration asks for; it needs no Accelerate itself.

Torch is imported only where it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from quantart.errors import UserError

if TYPE_CHECKING:
    import torch

_YES = {"1", "true", "yes", "y", "t", "on"}  # as Accelerate reads them
_GPU_DRIVERS = "/dev/nvidiactl", "/dev/kfd", "/dev/dxg"  # NVIDIA's, AMD's, and Windows' below Linux


def default_device() -> torch.device:
    """The first GPU, or the CPU where there is none or `ACCELERATE_USE_CPU`, else Accelerate's `use_cpu`, asks for it.

    UserError where `CUDA_VISIBLE_DEVICES` names a missing GPU.
    """
    import torch

    if _cpu_wanted():
        return torch.device("cpu")
    # CUDA silently ignores the first missing GPU and all after it: training would run on the CPU
    named, here = _named_gpus(), torch.cuda.device_count()
    if len(named) > here:
        visible = os.environ["CUDA_VISIBLE_DEVICES"]
        raise UserError(
            f"CUDA_VISIBLE_DEVICES={visible}: there is no GPU {named[here]} here",
            "correct it, or unset it to use the GPUs there are",
        )
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def surely_cpu() -> bool:
    """Whether `default_device` is the CPU, as far as can be told without torch."""
    if _cpu_wanted() or not find_spec("torch"):
        return True
    if "CUDA_VISIBLE_DEVICES" in os.environ:
        return not _named_gpus()
    return sys.platform != "win32" and not any(map(os.path.exists, _GPU_DRIVERS))


def _cpu_wanted() -> bool:
    return (os.environ.get("ACCELERATE_USE_CPU") or configured("use_cpu") or "").lower() in _YES


def _named_gpus() -> list[str]:
    """Those that `CUDA_VISIBLE_DEVICES` names."""
    names = (name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(","))
    return list(takewhile(lambda name: name not in {"", "-1"}, names))


def chosen_device(name: str) -> torch.device:
    """The device of this name: `cpu`, `cuda` or `cuda:1`; UserError where this machine has no such device."""
    import torch

    here = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    here += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name not in here:
        raise UserError(f"device {name!r}: not on this machine", f"choose one of {', '.join(here)}")
    return torch.device(name)


def precision(cpu: bool) -> str:
    """`bf16` or `no` as Accelerate's configuration says, else `default_precision`; UserError where it says another."""
    said = os.environ.get("ACCELERATE_MIXED_PRECISION") or configured("mixed_precision")
    asked = said.lower() if said else default_precision(cpu)
    if asked not in {"no", "bf16"}:
        raise UserError(f"mixed precision {asked!r} is not supported", "use 'bf16' or 'no'")
    return asked


def default_precision(cpu: bool) -> str:
    """`bf16` where the device computes it natively (CPUs: with AMX or AVX-512), else `no`, which is float32."""
    import torch

    if cpu:
        capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        capable = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if capable else "no"


def autocast(device: torch.device) -> Callable[[], torch.autocast]:
    """A function that makes contexts in which networks run in this device's `precision`, as they do in training.

    The configuration is read once, here. Each thread needs a context of its own.
    """
    import torch

    half = precision(cpu=device.type == "cpu") == "bf16"
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=half)


def configured(key: str) -> str | None:
    """A value of Accelerate's configuration file, as text; UserError where it is none or the one named is missing.

    `yes` or `no` for what YAML reads as a truth value: `mixed_precision: no` needs no quotes, as in Accelerate.
    """
    chosen = os.environ.get("ACCELERATE_CONFIG_FILE")
    path = Path(chosen) if chosen else default_config_file()
    if not path.is_file():
        if chosen:
            raise UserError(f"ACCELERATE_CONFIG_FILE={chosen!r}: no such file", "correct it or unset it")
        return None
    import yaml

    try:
        value = (yaml.safe_load(path.read_text(encoding="utf8")) or {}).get(key)
    except (yaml.YAMLError, AttributeError):
        raise UserError(f"{path}: not a configuration of Accelerate", "run `accelerate config` to write one") from None
    return None if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def default_config_file() -> Path:
    """Where `accelerate config` writes; found without Accelerate, which a served model does not have."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    home = os.path.expanduser(os.environ.get("HF_HOME", cache))  # as it is for a user without a home, in a container
    return Path(home, "accelerate", "default_config.yaml")
