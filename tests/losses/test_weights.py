from __future__ import annotations

import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from quantart.errors import UserError
from quantart.losses import weights
from quantart.losses.backbones import input_statistics, layers_of
from quantart.losses.weights import backbone_weights, load_backbone, package_file, read_weights
from quantart.vocabulary.names import PerceptualNetworkName

PHOTOS = Path(__file__).parents[1] / "pictures"


def photo(name: str, side: int = 224) -> Tensor:
    """Its central square, `(1, 3, side, side)` in [-1, 1]."""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        width, height = image.size
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        square = image.convert("RGB").crop((left, top, left + short, top + short))
        pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


# measured when the weights were converted, on networks that classified these photographs as what they are; the padding
# or epsilon of another EfficientNet-Lite, or BGR in place of RGB, move them by more
@pytest.mark.parametrize(
    ("network", "koala", "panda"), [("squeezenet1_1", 4669.58, 5123.51), ("efficientnet_lite0", 338.585, 346.191)]
)
def test_features_of_photographs_are_those_that_were_measured(
    network: PerceptualNetworkName, koala: float, panda: float
) -> None:
    model = load_backbone(network)
    mean, std = input_statistics(network)
    with torch.no_grad():
        found = [layers_of(model, network)((photo(name) - mean) / std).norm().item() for name in ("koala", "panda")]
    assert found == pytest.approx([koala, panda], rel=1e-3)
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_weights_come_from_a_file(tmp_path: Path, name: str) -> None:
    state = {key: value + 1 for key, value in backbone_weights("squeezenet1_1").items()}
    classifier = {"classifier.1.weight": torch.zeros(3, 512, 1, 1), "classifier.1.bias": torch.zeros(3)}  # not read
    save = save_file if name.endswith("safetensors") else torch.save
    save(state | classifier, tmp_path / name)
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
    with pytest.raises(UserError, match=r"w\.pth: does not fit an EfficientNet: missing: .*unexpected: features\.0"):
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


@pytest.mark.parametrize("network", weights.SHIPPED)
def test_a_shipped_file_that_is_damaged_or_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: PerceptualNetworkName
) -> None:
    file = tmp_path / f"{network}.safetensors"
    whole = (weights.IMAGENET / file.name).read_bytes()
    monkeypatch.setattr(weights, "IMAGENET", tmp_path)
    with pytest.raises(UserError) as missing:
        backbone_weights(network)
    assert missing.value.fault == f"{file}: is missing"
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(UserError) as damaged:
        backbone_weights(network)
    assert damaged.value.fault == f"{file}: is damaged (sha256 differs)"


def test_a_missing_package_is_named() -> None:
    with pytest.raises(UserError) as missing:
        package_file("no_such_package_here", "weights.pkl", "no_such_package_here==1")
    assert "no_such_package_here==1" in missing.value.remedy


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(UserError, match="resnet50.*squeezenet1_1, efficientnet_lite0, alexnet, vgg16"):
        load_backbone("resnet50")  # type: ignore[arg-type]


def test_no_download_is_an_error_that_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first request for good
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError) as offline:
        backbone_weights("alexnet")
    assert "alexnet" in offline.value.fault
    assert str(tmp_path / "hub" / "checkpoints" / "alexnet-owt-7be5be79.pth") in offline.value.remedy
    assert "--weights" in offline.value.remedy
