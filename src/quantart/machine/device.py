"""Which device networks run on and in which precision, and what Accelerate's configuration says of both.

It needs neither Accelerate nor a GPU.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from itertools import takewhile
from pathlib import Path

import torch

from quantart.errors import UserError


def default_device() -> torch.device:
    """The first GPU, or the CPU where there is none or where it is asked for.

    `ACCELERATE_USE_CPU`, then `use_cpu` in Accelerate's configuration file, ask for it: what `accelerate config` says
    of training holds for everything else too.

    Raises:
        UserError: `ACCELERATE_CONFIG_FILE` names no such file, or `CUDA_VISIBLE_DEVICES` a GPU that is not here.
    """
    asked = os.environ.get("ACCELERATE_USE_CPU") or configured("use_cpu") or ""
    if asked.lower() in {"1", "true", "yes"}:
        return torch.device("cpu")
    _check_visible()
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _check_visible() -> None:
    # CUDA leaves out the first that is not there and all after it without a word: training would go on on the CPU
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    named = list(takewhile(lambda name: name not in {"", "-1"}, (name.strip() for name in visible.split(","))))
    here = torch.cuda.device_count()
    if len(named) > here:
        raise UserError(
            f"CUDA_VISIBLE_DEVICES={visible}: there is no GPU {named[here]} here; mend it, or unset it to take what "
            "there is"
        )


def chosen_device(name: str) -> torch.device:
    """The device of this name: `cpu`, `cuda` or `cuda:1`.

    Raises:
        UserError: no such device here.
    """
    here = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    here += [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if name not in here:
        raise UserError(f"device {name!r}: is not here; there are {', '.join(here)}")
    return torch.device(name)


def precision(cpu: bool) -> str:
    """`bf16` or `no`, as Accelerate's configuration asks, else `default_precision`.

    Raises:
        UserError: it asks for another.
    """
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION") or configured("mixed_precision") or default_precision(cpu)
    if asked not in {"no", "bf16"}:
        raise UserError(f"mixed precision {asked!r} is not supported; use 'bf16' or 'no'")
    return asked


def default_precision(cpu: bool) -> str:
    """`bf16` where the device has instructions for it (AMX or AVX-512 on CPUs), else `no`: float32."""
    if cpu:
        capable = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    else:
        capable = torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16" if capable else "no"


def autocast(device: torch.device) -> Callable[[], torch.autocast]:
    """Makes contexts in which networks run in the `precision` of this device, without training as in it.

    What decides it is read once, here; a context is for one thread alone.

    Raises:
        UserError: see `precision`.
    """
    half = precision(cpu=device.type == "cpu") == "bf16"
    return partial(torch.autocast, device.type, torch.bfloat16, enabled=half)


def configured(key: str) -> str | None:
    """A value of Accelerate's configuration file, as text.

    Raises:
        UserError: `ACCELERATE_CONFIG_FILE` names no such file, or the file is not a configuration.
    """
    import yaml

    chosen = os.environ.get("ACCELERATE_CONFIG_FILE")
    path = Path(chosen) if chosen else default_config_file()
    if not path.is_file():
        if chosen:
            raise UserError(f"ACCELERATE_CONFIG_FILE={chosen!r}: no such file")
        return None
    try:
        value = (yaml.safe_load(path.read_text(encoding="utf8")) or {}).get(key)
    except (yaml.YAMLError, AttributeError):
        raise UserError(f"{path}: not a configuration of Accelerate; `accelerate config` writes one") from None
    return None if value is None else str(value)


def default_config_file() -> Path:
    """Where `accelerate config` writes; a served model knows the place without Accelerate."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    return Path(os.environ.get("HF_HOME", cache)).expanduser() / "accelerate" / "default_config.yaml"
