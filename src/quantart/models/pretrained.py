"""Saving a network to a folder and opening it again: `model.safetensors` and `config.json`, as Hugging Face does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from copy import deepcopy
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any, ClassVar, Concatenate, ParamSpec, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from quantart.errors import UserError
from quantart.models.folder import CONFIG, WEIGHTS, read_config
from quantart.models.shipped import SHIPPED, Part, shipped

# keywords of Hugging Face's `from_pretrained` that concern a download, and those with the value that always holds here
DOWNLOAD = ("revision", "cache_dir", "force_download", "local_files_only", "proxies", "resume_download", "token")
ALWAYS = {"strict": True, "use_safetensors": True, "trust_remote_code": False}

P = ParamSpec("P")
Init = Callable[Concatenate[Any, P], None]


def keeps_arguments(init: Init[P]) -> Init[P]:
    """Decorates a constructor: before it runs, its arguments, with all defaults, are kept in `self.config`."""

    @wraps(init)
    def wrapped(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> None:
        bound = signature(init).bind(self, *args, **kwargs)
        bound.apply_defaults()
        self.config = deepcopy({name: value for name, value in bound.arguments.items() if value is not self})
        init(self, *args, **kwargs)

    return wrapped


class Pretrained(nn.Module):
    """A network that can be saved and opened again; its constructor `keeps_arguments`.

    Attributes:
        config: the constructor's arguments.
        shipped_part: what `quantart/open` stands for.
    """

    config: dict[str, Any]
    shipped_part: ClassVar[Part]

    def arguments_of(self, part: type[nn.Module]) -> dict[str, Any]:
        """Those of this network's arguments that the constructor of `part` takes too."""
        return {name: self.config[name] for name in signature(part).parameters if name in self.config}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the network to `folder`, which is created if needed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self, folder / WEIGHTS)
        config = {"model": type(self).__name__, **self.config}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, *, subfolder: str = "", map_location: str | torch.device = "cpu", **hub: Any
    ) -> Self:
        """Open a folder that `save_pretrained` wrote, in eval mode on the device `map_location`.

        Args:
            folder: the folder, or `quantart/open`, the model that comes with the package.
            hub: what Hugging Face's `from_pretrained` takes as well; what concerns a download says nothing about a
                folder.

        Raises:
            UserError: something is missing, damaged or of another network, or a keyword asks for what is not done; the
                folder, the keys and the keyword are named.
        """
        for name, value in hub.items():
            if name not in DOWNLOAD and value != ALWAYS.get(name):
                known = ", ".join(["subfolder", "map_location", *DOWNLOAD])
                raise UserError(f"from_pretrained({name}={value!r}): not supported", f"leave it out; known are {known}")
        folder = Path(shipped(cls.shipped_part) if folder == SHIPPED else folder, subfolder)
        config = read_config(folder)
        if config.pop("model", None) != cls.__name__:
            raise UserError(f"{folder / CONFIG}: describes no {cls.__name__}", f'it needs "model": "{cls.__name__}"')
        try:
            network = cls(**config)
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"{folder / CONFIG}: describes no {cls.__name__}: {error}") from None
        try:
            state = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{folder / WEIGHTS}: cannot be read: {error}") from None
        load_strictly(network, state, str(folder / WEIGHTS))
        return network.eval().to(map_location)


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors, readable as the umask says: `save_file` hides it from others."""
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}))


def load_strictly(network: nn.Module, state: dict[str, Tensor], source: str, *, assign: bool = False) -> None:
    """Load a state dict whose keys and shapes must be exactly the network's.

    Args:
        source: of the state dict, for the error.
        assign: put the tensors themselves into the network, which may be on the meta device, instead of copying.

    Raises:
        UserError: names `source` and the missing, unexpected or misshapen keys; the network is then unchanged.
    """
    expected = network.state_dict()
    misshapen = {
        f"{k} {tuple(state[k].shape)} for {tuple(v.shape)}"
        for k, v in expected.items()
        if k in state and state[k].shape != v.shape
    }
    faults = {
        "missing": expected.keys() - state.keys(),
        "unexpected": state.keys() - expected.keys(),
        "of another shape": misshapen,
    }
    text = "; ".join(f"{kind}: {some(keys)}" for kind, keys in faults.items() if keys)
    if text:
        raise UserError(f"{source}: does not fit an {type(network).__name__}: {text}")
    network.load_state_dict(state, assign=assign)


def some(keys: Iterable[str], most: int = 8) -> str:
    """The first keys by name, and how many more there are."""
    ordered = sorted(keys)
    shown = ", ".join(ordered[:most])
    return f"{shown} and {len(ordered) - most} more" if len(ordered) > most else shown
