"""The graphs compute what torch computes, which is the judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from quantart.components.twin_transfer import PaintingFeatures
from quantart.errors import UserError
from quantart.graphs.network import has_graphs, network_graphs, write_graphs
from quantart.graphs.run import Graphs
from quantart.models.stage_2 import ExperimentStage2

from ..models.networks import small_painter

SIZES = ((32, 48), (52, 36)), ((36, 36), (40, 68))
"""Of photograph and painting: at half the codes' resolution, sides are odd too."""


def saved(model: ExperimentStage2, folder: Path) -> Path:
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("options", [{}, {"variant": "continuous"}, {"cosine": True}])
@torch.inference_mode()
def test_each_graph_is_the_networks_part(
    options: dict[str, Any], sizes: tuple[tuple[int, int], tuple[int, int]], tmp_path: Path
) -> None:
    model = small_painter(**options)
    graphs = Graphs(saved(model, tmp_path / "model"))
    photograph, painting = (torch.rand(1, 3, *size) * 2 - 1 for size in sizes)
    codes = np.array(True)

    content = model.content_latents(photograph)
    same(graphs.run("content", picture=photograph.numpy(), codes=codes)["latents"], content)

    features = model.style_features(painting)
    assert isinstance(features, PaintingFeatures)
    style = graphs.run("style", picture=painting.numpy(), codes=codes)
    expected = [
        features.mean,
        features.deviation,
        *(each for site in features.sites for each in site if each is not None),
    ]
    assert len(style) == len(expected) == 2 + 2 * 9 + 2
    for (name, found), tensor in zip(style.items(), expected, strict=True):
        assert found.shape == tensor.shape, name
        same(found, tensor)

    styled = model.transfer(content, features).z
    same(graphs.run("transfer", latents=content.numpy(), codes=codes, **style)["styled"], styled)
    same(graphs.run("decode", latents=styled.numpy())["picture"], model.decode(styled))


def same(found: np.ndarray, expected: torch.Tensor) -> None:
    assert found.std() > 0.01
    np.testing.assert_allclose(found, expected.numpy(), atol=2e-4, rtol=2e-3)


@torch.inference_mode()
def test_without_codes_a_discrete_network_is_the_continuous_one(tmp_path: Path) -> None:
    model = small_painter()
    graphs, picture = Graphs(saved(model, tmp_path / "model")), torch.rand(1, 3, 32, 32)
    found = graphs.run("content", picture=picture.numpy(), codes=np.array(False))["latents"]
    same(found, model.without_codebooks().content_latents(picture))
    assert not np.allclose(found, model.content_latents(picture).numpy(), atol=1e-2)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
@torch.inference_mode()
def test_weights_of_any_precision_are_read_as_they_are_stored(kind: torch.dtype, tmp_path: Path) -> None:
    model, z = small_painter().to(kind), torch.randn(1, 8, 9, 7)
    found = Graphs(saved(model, tmp_path / "model")).run("decode", latents=z.numpy())["picture"]
    same(found, model.float().decode(z))


def test_weights_in_half_precision_stay_where_they_are(tmp_path: Path) -> None:
    folder, out = saved(small_painter().half(), tmp_path / "model"), tmp_path / "onnx"
    write_graphs(folder, out)
    names = ["config.json", "content.onnx", "decode.onnx", "model.safetensors", "style.onnx", "transfer.onnx"]
    assert sorted(file.name for file in out.iterdir()) == names
    assert (out / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
    graphs = sum(file.stat().st_size for file in out.glob("*.onnx"))
    assert graphs < (folder / "model.safetensors").stat().st_size / 2
    with pytest.raises(UserError, match="onnx: exists already"):
        write_graphs(folder, out)


def test_other_networks_have_no_graphs(network: ExperimentStage2, tmp_path: Path) -> None:
    assert not has_graphs(network.config)
    with pytest.raises(UserError, match=r"model: only lean networks that paint \(twin\)"):
        network_graphs(saved(network, tmp_path / "model"))


def test_weights_that_are_not_the_configurations_are_refused(tmp_path: Path) -> None:
    folder = saved(small_painter(), tmp_path / "model")
    config, weights = folder / "config.json", folder / "model.safetensors"
    described, whole = json.loads(config.read_text()), weights.read_bytes()
    for change, said in (
        ({"fine_blocks": 0}, r"knows nothing of model_x2y\.fine\.0\.conv1\.bias"),
        ({"fine_blocks": 2}, r"does not fit .*config\.json \('model_x2y\.fine\.1\."),
    ):
        config.write_text(json.dumps(described | change))
        with pytest.raises(UserError, match=said):
            network_graphs(folder)
    config.write_text(json.dumps(described))
    for damaged in (b"", whole[:100], b"\xff" * 100, whole[:-4]):
        weights.write_bytes(damaged)
        with pytest.raises(UserError, match=r"model\.safetensors: cannot be read: "):
            Graphs(folder)
    weights.unlink()
    with pytest.raises(UserError, match=r"model\.safetensors: cannot be read: "):
        Graphs(folder)
