"""Features of whole pictures, for the distances between sets; and finding the network that a weights file fits."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import get_args

import torch
from torch import Tensor, nn
from torchvision.transforms.v2 import Resize

from quantart.errors import UserError
from quantart.losses.backbones import architecture, check_known, layers_of
from quantart.losses.lpips import LPIPS
from quantart.losses.weights import SHIPPED, load_backbone, read_weights, torchvision_file, used_for_features
from quantart.models.folder import file_sha256
from quantart.models.pretrained import load_strictly
from quantart.vocabulary.names import FeatureNetworkName

# the published FID network's file is named after its checksum: `…inception-2015-12-05-6726825d.pth`
_FID_SHA256 = "6726825d"
_FID_CLASSES = 1008  # torchvision's has 1000


class FeatureNetwork(nn.Module):
    """Maps pictures `(b, 3, h, w)` in [-1, 1], at least 32 pixels wide, to features `(b, width)`, float32.

    The features are means over space: of the last convolution's outputs (`efficientnet_lite0`, `inception_v3`), or of
    the last layer that `LPIPS` compares (the others). Pictures are standardised as for the network's training. They
    keep their resolution, except for `inception_v3`, which needs 299 × 299 pixels (bilinear, antialiased).

    With the published FID network, given as a file, the distances are called `fid` and `kid`. torch-fidelity runs it:
    it rounds pictures to 8 bits and resizes them as TensorFlow 1 did. With any other network or weights the distances
    are called `fd_…` and `kd_…`, followed by the network's name. Without a file, the weights are those that are shipped
    or that torchvision downloads.

    Raises:
        UserError: an unknown network, its weights are not available, or the file does not fit it.
    """

    def __init__(self, network: FeatureNetworkName = "efficientnet_lite0", weights: Path | None = None) -> None:
        super().__init__()
        check_known(network)
        self.network = network
        self._layers: nn.Module
        if network == "inception_v3" and weights is not None and _is_fid_network(read_weights(weights)):
            self.frechet, self.kernel, self._layers = "fid", "kid", _PublishedInception(weights)
        else:
            self.frechet, self.kernel, self._layers = f"fd_{network}", f"kd_{network}", _layers(network, weights)
        self.requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        self.eval()

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stays in eval mode."""
        return super().train(False)

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self._layers(pictures.float())
        return features.mean((2, 3)) if features.dim() == 4 else features


def assign_weights(files: Sequence[Path], networks: Iterable[FeatureNetworkName]) -> dict[FeatureNetworkName, Path]:
    """Find out which of the networks in use each given file belongs to, by its tensors' names and shapes.

    Raises:
        UserError: a file cannot be read or fits none of the networks, or two files belong to one network. The remedy
            says which weights are expected and where they are.
    """
    wanted = list(dict.fromkeys(networks))
    found: dict[FeatureNetworkName, Path] = {}
    for file in files:
        try:
            network = _network_of(file, wanted)
        except UserError as error:
            places = [f"{each}'s are at {torchvision_file(each)[1]}" for each in wanted if each not in SHIPPED]
            use = f"use weights of {' or '.join(wanted)} (evaluate.network and evaluate.features in params.yaml)"
            raise UserError(f"--weights: {error.fault}", "; ".join([use, *places])) from None
        if network in found:
            raise UserError(f"{file}: {found[network]} already holds the weights of {network}", "give one of the two")
        found[network] = file
    return found


def _network_of(file: Path, wanted: Sequence[FeatureNetworkName]) -> FeatureNetworkName:
    state = read_weights(file)
    for network in (*wanted, *get_args(FeatureNetworkName)):
        if _fits(state, network):
            if network in wanted:
                return network
            raise UserError(f"{file}: holds the weights of {network}, which is not in use")
    nearest = max(wanted, key=lambda network: len(state.keys() & architecture(network).state_dict().keys()))
    # raises, naming what differs
    load_strictly(architecture(nearest), used_for_features(state), str(file), assign=True)
    return nearest


def _fits(state: dict[str, Tensor], network: FeatureNetworkName) -> bool:
    if network == "inception_v3" and _is_fid_network(state):
        return True
    expected, state = architecture(network).state_dict(), used_for_features(state)
    return state.keys() == expected.keys() and all(state[name].shape == expected[name].shape for name in state)


def _layers(network: FeatureNetworkName, weights: Path | None) -> nn.Module:
    if network == "inception_v3":
        return nn.Sequential(Resize((299, 299)), load_backbone(network, weights))
    if network == "efficientnet_lite0":
        model = load_backbone(network, weights)
        head = dict(model.named_children())
        return nn.Sequential(layers_of(model, network), head["conv_head"], head["bn2"])
    return _LastCompared(LPIPS(network, weights))


class _LastCompared(nn.Module):
    def __init__(self, lpips: LPIPS) -> None:
        super().__init__()
        self.lpips = lpips

    def forward(self, pictures: Tensor) -> Tensor:
        return self.lpips.features(pictures)[-1]


def _is_fid_network(state: dict[str, Tensor]) -> bool:
    return "fc.weight" in state and len(state["fc.weight"]) == _FID_CLASSES


class _PublishedInception(nn.Module):
    """The Inception network of the published FID, from torch-fidelity; it pools differently from torchvision's."""

    def __init__(self, weights: Path) -> None:
        super().__init__()
        if not file_sha256(weights).startswith(_FID_SHA256):
            raise UserError(
                f"{weights}: has the shapes of FID's network but is not its published file (sha256 {_FID_SHA256}…)",
                "give weights-inception-2015-12-05-6726825d.pth of torch-fidelity",
            )
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError:
            raise UserError("fid needs torch-fidelity", "run `pip install quantart[fid]`") from None
        with tempfile.TemporaryDirectory() as folder:
            # torch-fidelity would unpickle anything, so it gets a copy that contains only tensors
            copy = Path(folder) / "weights.pth"
            torch.save(read_weights(weights), copy)
            self.network = FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(copy))

    def forward(self, pictures: Tensor) -> Tensor:
        pixels = ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        features: Tensor = self.network(pixels)[0]
        return features
