from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor

from quantart.errors import UserError
from quantart.evaluation import networks
from quantart.evaluation.networks import FeatureNetwork, assign_weights
from quantart.losses import weights
from quantart.losses.backbones import architecture
from quantart.losses.lpips import LPIPS
from quantart.losses.weights import load_backbone, read_weights, shipped_file
from quantart.vocabulary.names import FeatureNetworkName


def pictures(side: int = 64) -> Tensor:
    return torch.from_numpy(np.tanh(np.random.default_rng(0).normal(size=(2, 3, side, side)))).float()


def empty_file(path: Path, network: FeatureNetworkName) -> Path:
    """A file with one number for all values, small but of the network's shapes."""
    torch.save({k: torch.zeros(()).expand(v.shape) for k, v in architecture(network).state_dict().items()}, path)
    return path


def published_state() -> dict[str, Tensor]:
    """Of the shape of FID's network, with random values."""
    torch.manual_seed(0)
    state = torchvision.models.inception_v3(weights=None, init_weights=False).state_dict()
    kept = {key: value for key, value in state.items() if not key.startswith("AuxLogits")}
    return kept | {"fc.weight": torch.rand(1008, 2048), "fc.bias": torch.rand(1008)}


def test_features_of_efficientnet_are_the_networks_own_before_its_classifier() -> None:
    network = FeatureNetwork()
    model = load_backbone("efficientnet_lite0")
    with torch.no_grad():
        features = network(pictures())
        expected = model.forward_head(model.forward_features(pictures()), pre_logits=True)
    assert features.shape == (2, 1280)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-4)
    assert (network.frechet, network.kernel) == ("fd_efficientnet_lite0", "kd_efficientnet_lite0")


def test_features_of_squeezenet_are_means_of_the_last_compared_layer() -> None:
    network = FeatureNetwork("squeezenet1_1")
    with torch.no_grad():
        expected = LPIPS("squeezenet1_1").features(pictures())[-1].mean((2, 3))
        assert torch.equal(network(pictures()), expected)
    assert expected.shape[1] == 512


@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_smallest_pictures_have_features(tmp_path: Path, network: FeatureNetworkName) -> None:
    features = FeatureNetwork(network, empty_file(tmp_path / "w.pth", network))
    assert features(pictures(32)).shape == (2, {"alexnet": 256, "vgg16": 512}[network])


def test_torchvisions_inception_is_not_called_fid(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = torchvision.models.inception_v3(weights=None, init_weights=False, transform_input=True).eval()
    monkeypatch.setattr(weights, "backbone_weights", lambda network: model.state_dict())
    network = FeatureNetwork("inception_v3")
    pooled: list[Tensor] = []
    model.avgpool.register_forward_hook(lambda module, inputs, output: pooled.append(output.flatten(1)))
    # as torchvision wants them: resized, in [0, 1], standardised by ImageNet's mean
    resized = F.interpolate(pictures(), size=(299, 299), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        model(((resized + 1) / 2 - mean) / std)
        torch.testing.assert_close(network(pictures()), pooled[0], rtol=1e-3, atol=1e-4)
    assert pooled[0].shape == (2, 2048)
    assert (network.frechet, network.kernel) == ("fd_inception_v3", "kd_inception_v3")


def test_fid_needs_the_published_file_and_torch_fidelity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "weights.pth"
    torch.save({key: torch.zeros(()).expand(value.shape) for key, value in published_state().items()}, file)
    with pytest.raises(UserError) as other:
        FeatureNetwork("inception_v3", file)
    assert str(file) in other.value.fault
    assert "weights-inception-2015-12-05-6726825d.pth" in other.value.remedy
    monkeypatch.setattr(networks, "file_sha256", lambda path: "6726825d" + 56 * "0")
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", None)
    with pytest.raises(UserError) as missing:
        FeatureNetwork("inception_v3", file)
    assert "torch-fidelity" in missing.value.fault
    assert "pip install quantart[fid]" in missing.value.remedy


def test_fid_is_torch_fidelitys_features_of_8_bit_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inception = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")
    file = tmp_path / "weights.pth"
    torch.save(published_state(), file)
    monkeypatch.setattr(networks, "file_sha256", lambda path: "6726825d" + 56 * "0")
    network = FeatureNetwork("inception_v3", file)
    theirs = inception.FeatureExtractorInceptionV3("inception-v3-compat", ["2048"], str(file))
    grey = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    torch.testing.assert_close(network(grey / 127.5 - 1), theirs(grey)[0], rtol=1e-4, atol=1e-5)
    assert (network.frechet, network.kernel) == ("fid", "kid")
    assert assign_weights([file], ["inception_v3"]) == {"inception_v3": file}


def test_files_find_their_networks(tmp_path: Path) -> None:
    lite0, squeezenet = shipped_file("efficientnet_lite0"), tmp_path / "a.pth"
    alexnet = empty_file(tmp_path / "b.pth", "alexnet")
    torch.save(read_weights(shipped_file("squeezenet1_1")) | {"classifier.1.bias": torch.zeros(1000)}, squeezenet)
    in_use: list[FeatureNetworkName] = ["alexnet", "squeezenet1_1", "efficientnet_lite0", "squeezenet1_1"]
    found = assign_weights([lite0, squeezenet, alexnet], in_use)
    assert found == {"efficientnet_lite0": lite0, "squeezenet1_1": squeezenet, "alexnet": alexnet}
    assert assign_weights([], in_use) == {}


def test_a_file_that_does_not_fit_is_refused_with_what_was_expected_and_where_that_is(tmp_path: Path) -> None:
    def refused(file: Path) -> UserError:
        with pytest.raises(UserError) as error:
            assign_weights([file], ["squeezenet1_1", "vgg16"])
        assert "squeezenet1_1" in error.value.remedy
        assert "https://download.pytorch.org/models/vgg16-397923af.pth" in error.value.remedy
        return error.value

    other = empty_file(tmp_path / "other.pth", "alexnet")
    assert f"{other}: holds the weights of alexnet" in refused(other).fault
    assert f"{tmp_path}/no.pth: " in refused(tmp_path / "no.pth").fault
    partial = tmp_path / "partial.safetensors"
    save_file({"features.0.weight": torch.zeros(64, 3, 3, 3)}, partial)
    assert "partial.safetensors: " in refused(partial).fault
    assert "missing: " in refused(partial).fault


def test_two_files_for_one_network_are_refused(tmp_path: Path) -> None:
    files = [empty_file(tmp_path / name, "alexnet") for name in ("a.pth", "b.pth")]
    with pytest.raises(UserError) as refused:
        assign_weights(files, ["alexnet"])
    assert all(name in refused.value.fault for name in ("a.pth", "b.pth", "alexnet"))


def test_it_stays_in_eval_mode() -> None:
    assert not torch.nn.ModuleList([FeatureNetwork()]).train()[0].training


def test_an_unknown_network_is_named() -> None:
    with pytest.raises(UserError) as refused:
        FeatureNetwork("resnet50")  # type: ignore[arg-type]
    assert "resnet50" in refused.value.fault
    assert "inception_v3" in str(refused.value)
