"""Graphs paint what torch paints."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch

from quantart.errors import UserError
from quantart.graphs.network import have_graphs
from quantart.images.arrays import Picture, resize, to_tensor
from quantart.images.decode import read_image
from quantart.models.alpha_beta import Fidelity
from quantart.models.shipped import shipped
from quantart.models.stage_2 import ExperimentStage2
from quantart.stylize.graph_painter import GraphPainter
from quantart.stylize.networks import named_networks
from quantart.stylize.stylizer import Stylizer

from ..conftest import SAMPLE
from ..models.networks import save_control, small_painter, small_painters

MODEL = shipped("stage2_discrete")


@pytest.fixture(scope="module")
def graphs() -> GraphPainter:
    return GraphPainter(MODEL)


@pytest.fixture(scope="module")
def judge() -> Stylizer:
    return Stylizer(named_networks(["quantart/open"], None)[0])


def sample(domain: str, draw: Callable[[list], object]) -> Picture:
    return read_image(draw(sorted((SAMPLE / domain).glob("*.jpg"))), max_pixels=10**8)  # type: ignore[arg-type]


def test_codes_and_pictures_of_odd_sizes_are_torchs(graphs: GraphPainter, judge: Stylizer) -> None:
    """Of 50 such pairs as many or more codes agreed, and pictures to a tenth of a level (docs/performance.md)."""
    drawn, model = random.Random(0), ExperimentStage2.from_pretrained("quantart/open")
    contents, styled = [], []
    for size in (65, 131, 190, 257):
        photograph, painting = sample("photos", drawn.choice), sample("paintings", drawn.choice)
        expected = judge.stylize(photograph, painting, size=size)
        painted = graphs.paint(photograph, painting, Fidelity(1.0, 1.0), size)
        assert painted.dtype == np.uint8
        assert np.abs(painted.astype(float) - expected).mean() < 0.25

        scaled, seen = graphs._padded(resize(photograph, *expected.shape[:2])), graphs._padded(graphs.seen_of(painting))
        with torch.inference_mode():
            content = model.content_latents(to_tensor(scaled))
            answer = model.transfer(content, model.style_features(to_tensor(seen))).z
        contents.append(agreeing(graphs._content("discrete", scaled), content))
        ours = graphs._transfer("discrete", content.numpy(), graphs._style("discrete", seen))
        styled.append(agreeing(ours, answer))
    assert min(np.concatenate(each).mean() for each in (contents, styled)) >= 0.999


def agreeing(found: np.ndarray, expected: torch.Tensor) -> np.ndarray:
    """Whether the code is the same, for each place."""
    return (np.abs(found - expected.numpy()).max(1) < 1e-3).ravel()


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (0.3, 0.6), (1.0, 0.0), (0.5, 0.0)])
def test_alpha_and_beta_mix_as_torch_mixes(
    alpha: float, beta: float, graphs: GraphPainter, judge: Stylizer, pictures: tuple[Picture, Picture]
) -> None:
    content, style = pictures
    expected = judge.stylize(content, style, alpha, beta, 96)
    painted = graphs.paint(content, style, Fidelity(alpha, beta), 96)
    assert np.abs(painted.astype(float) - expected).mean() < 0.25
    assert not np.array_equal(painted, graphs.paint(content, style, Fidelity(1.0, 1.0), 96))


def test_two_networks_with_one_decoder_are_mixed_as_torch_mixes(
    pictures: tuple[Picture, Picture], tmp_path: Path
) -> None:
    control = small_painters()
    folders = save_control(control, tmp_path).values()
    assert have_graphs(*folders)
    graphs, judge = GraphPainter(*folders), Stylizer(control)
    judge._autocast = partial(torch.autocast, "cpu", enabled=False)  # type: ignore[method-assign]
    found = []
    for alpha, beta in ((1.0, 1.0), (0.0, 1.0), (0.5, 1.0), (0.3, 0.6)):
        found.append(graphs.paint(*pictures, Fidelity(alpha, beta), 96).astype(float))
        assert np.abs(found[-1] - judge.stylize(*pictures, alpha, beta, 96)).mean() < 0.02
    assert min(np.abs(a - b).mean() for a, b in combinations(found, 2)) > 1

    small_painter(variant="continuous").save_pretrained(tmp_path / "continuous")  # its decoder is another
    assert not have_graphs(*folders)


def test_a_style_is_kept(pictures: tuple[Picture, Picture]) -> None:
    content, style = pictures
    painter = GraphPainter(MODEL)
    first, second = (painter.paint(content, style, Fidelity(1.0, 1.0), 64) for _ in range(2))
    assert np.array_equal(first, second)
    hits, misses, entries, kept = painter.styles.figures()
    assert (hits, misses, entries) == (1, 1, 1)
    assert 10**5 < kept < 3 * 10**6


def test_graphs_refine_nothing(graphs: GraphPainter, noise: Picture) -> None:
    with pytest.raises(UserError, match=r"^refine: .*torch"):
        graphs.paint(noise, noise, Fidelity(1.0, 1.0), 96, refine=1)


def test_the_command_paints_without_torch(tmp_path: object) -> None:
    photograph, painting = (sorted((SAMPLE / domain).glob("*.jpg"))[0] for domain in ("photos", "paintings"))
    words = ["stylize", str(photograph), "--style", str(painting), "--size", "64"]
    code = (
        f"import sys; from quantart_cli.app import app; app({words!r}, standalone_mode=False);"
        "print({'torch', 'pandas', 'mlflow', 'rich.progress'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=str(tmp_path), check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "set()"
