"""Painting with `quantart/open`: against Magenta's network, and as a whole process against the same by torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from case import Case
from timing import Call

from quantart.evaluation.magenta import MagentaStylizer
from quantart.images.arrays import Picture, resize, to_tensor
from quantart.images.decode import read_image
from quantart.models.alpha_beta import Fidelity
from quantart.models.shipped import shipped
from quantart.models.stage_2 import ExperimentStage2
from quantart.stylize.graph_painter import GraphPainter

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
SIDE, COLD_SIDE = 384, 512
DISCRETE = Fidelity(1.0, 1.0)
BY_TORCH = """
import sys
from pathlib import Path
from quantart.images.arrays import write_image
from quantart.images.decode import read_image
from quantart.stylize.networks import named_networks
from quantart.stylize.stylizer import Stylizer
photograph, painting, out = map(Path, sys.argv[1:4])
networks, fidelity = named_networks(["quantart/open"], None)
pictures = [read_image(file, max_pixels=10**8) for file in (photograph, painting)]
write_image(out, Stylizer(networks).paint(*pictures, fidelity, int(sys.argv[4])))
"""


WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def pair() -> tuple[Picture, Picture]:
    photograph, painting = (read_image(file, max_pixels=10**8) for file in files())
    return resize(photograph, SIDE, SIDE), resize(painting, SIDE, SIDE)


def files() -> tuple[Path, Path]:
    photograph, painting = (sorted((SAMPLE / domain).glob("*.jpg"))[0] for domain in ("photos", "paintings"))
    return photograph, painting


def stylize_magenta(batch: int) -> Call:
    """Its photograph of 384 pixels, with what it takes from the painting kept."""
    magenta, (content, style) = MagentaStylizer(), map(to_tensor, pair())
    hand = magenta.hand(style)
    return lambda: [magenta.painted(content, hand) for _ in range(batch)]


def stylize_shipped(batch: int) -> Call:
    os.environ["OMP_NUM_THREADS"] = str(torch.get_num_threads())
    painter, (content, style) = GraphPainter(shipped("stage2_discrete")), pair()
    return lambda: [painter.paint(content, style, DISCRETE) for _ in range(batch)]


def stylize_counted(batch: int) -> Call:
    """The same by torch, whose operations can be counted."""
    model, (content, style) = ExperimentStage2.from_pretrained("quantart/open"), map(to_tensor, pair())
    with torch.no_grad():
        features = model.style_features(style)
    return lambda: [model.decode(model.transfer(model.content_latents(content), features).z) for _ in range(batch)]


def process(*words: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own; its picture goes to `OUT`."""
    environment = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with TemporaryDirectory() as folder:
        given = [str(Path(folder, "painted.png")) if word == "OUT" else word for word in words]
        return subprocess.run([sys.executable, *given], check=True, capture_output=True, text=True, env=environment)


def command() -> list[str]:
    photograph, painting = map(str, files())
    rest = ["--out", "OUT", "--model", "quantart/open", "--size", str(COLD_SIDE)]
    return ["-m", "quantart_cli", "stylize", photograph, "--style", painting, *rest]


def cold_by_torch(batch: int) -> Call:
    return lambda: process("-c", BY_TORCH, *map(str, files()), "OUT", str(COLD_SIDE))


def cold_start(batch: int) -> Call:
    return lambda: process(*command())


def cold_peak() -> int:
    """Bytes; asked of a small process, since a child counts what its parent held when it began."""
    said = process("-c", WATCH, sys.executable, *command()).stdout
    return int(said) * (1 if sys.platform == "darwin" else 1024)


CASES = {
    "stylize_shipped": Case(
        "paint 384 × 384 with quantart/open, style kept",
        "Magenta's network in onnxruntime",
        1,
        15,
        stylize_magenta,
        stylize_shipped,
        lambda batch: 8 * 10**6 + 2 * batch * SIDE**2 * 3,  # the weights in float32, pixels in and out
        counted=stylize_counted,
    ),
    "cold_start": Case(
        "`quantart stylize` at 512 pixels, the whole process",
        "the same picture by torch",
        1,
        5,
        cold_by_torch,
        cold_start,
        lambda batch: 0,
        counted=lambda batch: lambda: None,
        peak=cold_peak,
    ),
}
