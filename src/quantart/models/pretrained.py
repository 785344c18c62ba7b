"""Saving a network to a folder and opening it again: `model.safetensors` and `config.json`, as Hugging Face does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from quantart.errors import UserError

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
DISCRIMINATOR = "discriminator.safetensors"  # beside an imported VQGAN: what fine-tuning goes on with


class Pretrained(nn.Module):
    """A network that keeps its constructor's arguments in `config` and saves itself beside them."""

    config: dict[str, Any]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the network to `folder`, which is made if absent."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self, folder / WEIGHTS)
        config = {"model": type(self).__name__, **self.config}
        (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Open a folder that `save_pretrained` wrote, in eval mode on the CPU.

        Raises:
            UserError: something is missing, damaged or of another network; the folder and the keys are named.
        """
        folder = Path(folder)
        config = _read_config(folder)
        if config.pop("model", None) != cls.__name__:
            raise UserError(f'{folder / CONFIG}: not the configuration of an {cls.__name__}; it needs its "model"')
        try:
            network = cls(**config)
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(f"{folder / CONFIG}: does not describe an {cls.__name__}: {error}") from None
        try:
            state = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{folder / WEIGHTS}: cannot be read: {error}") from None
        load_strictly(network, state, str(folder / WEIGHTS))
        return network.eval()


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}, path)


def load_strictly(network: nn.Module, state: dict[str, Tensor], source: str, *, assign: bool = False) -> None:
    """Load a state dict whose keys and shapes must be exactly the network's.

    Args:
        assign: put the tensors themselves into the network, which may be on the meta device, in place of copying.

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


def file_sha256(path: Path) -> str:
    """Checksum in hex by which weights are recognised."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def some(keys: Iterable[str], most: int = 8) -> str:
    """The first keys by name, and how many more there are."""
    ordered = sorted(keys)
    shown = ", ".join(ordered[:most])
    return f"{shown} and {len(ordered) - most} more" if len(ordered) > most else shown


def _read_config(folder: Path) -> dict[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf8"))
    except OSError:
        raise UserError(f"{folder}: holds no model; a model's folder has {CONFIG} and {WEIGHTS}") from None
    except ValueError as error:
        raise UserError(f"{folder / CONFIG}: not valid JSON: {error}") from None
    if not isinstance(config, dict):
        raise UserError(f"{folder / CONFIG}: must be a JSON object")
    return config
