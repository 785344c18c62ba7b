"""quantart/open, or other models, beside Magenta's network: figures by networks, and pairs for the eye.

    python benchmarks/against_magenta.py [MODEL ...] [--refine STEPS] [--blind FOLDER]

On the project's held-out test pairs, at `data.resolution`. Texture, structure and colour are those of `quantart
evaluate` (docs/evaluation.md); `own` is the share of outputs whose nearest painting in texture, among all paintings of
the pairs, is their own. Refined is the answer of the first model after so many steps, on the first 12 pairs alone. The
last rows are differences of two methods on the same pairs.

`--blind` writes each pair as one picture for a viewer who must not know which is which: photograph and painting above,
the first model and Magenta's network below in random order; the order is written beside the folder.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quantart.data.pairs import read_pairs
from quantart.data.pictures import PackedPictures
from quantart.evaluation.estimates import Estimate
from quantart.evaluation.magenta import MagentaStylizer
from quantart.evaluation.methods import match_colours
from quantart.evaluation.metrics import colour_distance, colour_statistics
from quantart.evaluation.resampling import Sharing, estimate
from quantart.evaluation.texture import Texture, structure_distance, texture_distance, texture_of
from quantart.images.arrays import pixels_to_float, to_arrays, write_image
from quantart.losses.lpips import LPIPS
from quantart.machine.progress import progress
from quantart.models.stage_2 import ExperimentStage2
from quantart.project import find_project
from quantart.refining import refine

JUDGES = ("efficientnet_lite0", "squeezenet1_1")
REFINED = 12  # pairs
MAGENTA = "Magenta"

Painter = Callable[[Tensor, Tensor], Tensor]  # photograph and painting `(1, 3, h, w)` in [-1, 1] to a picture


def one_pass(model: ExperimentStage2) -> Painter:
    return lambda x, y: model(x, y)


def refined(model: ExperimentStage2, steps: int) -> Painter:
    def paint(x: Tensor, y: Tensor) -> Tensor:
        answer = model.transfer(model.content_latents(x), model.style_latents(y)).unquantised
        return model.decode(refine(model, answer, x, y, steps))

    return paint


@torch.inference_mode()
def judge(
    painters: Mapping[str, Painter], photographs: list[Tensor], paintings: list[Tensor], blind: Path | None
) -> dict[str, list[dict[str, float]]]:
    """Each painter's figures for each pair."""
    networks = {name: LPIPS(name) for name in JUDGES}
    hands: dict[str, list[Texture]] = {n: [texture_of(net, y) for y in paintings] for n, net in networks.items()}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in painters}
    order = []
    for pair, (x, y) in progress(enumerate(zip(photographs, paintings, strict=True)), len(paintings), "pairs"):
        painted = {
            name: paint(x, y).clamp(-1, 1)
            for name, paint in painters.items()
            if pair < REFINED or not name.startswith("refined")
        }
        colours, scenes = colour_statistics(y), {network: texture_of(net, x) for network, net in networks.items()}
        for name, picture in painted.items():
            row = {"colour": colour_distance(colour_statistics(picture), colours).item()}
            for network, net in networks.items():
                seen = texture_of(net, picture)
                distances = [texture_distance(seen, hand).item() for hand in hands[network]]
                row[f"texture_{network}"] = distances[pair]
                row[f"structure_{network}"] = structure_distance(seen, scenes[network]).item()
                # of one painting in several pairs, each is its own
                row[f"own_{network}"] = float(distances[pair] <= min(distances))
            rows[name].append(row)
        if blind is not None:
            sides = random.SystemRandom().sample([next(iter(painters)), MAGENTA], 2)
            order.append(sides)
            top, bottom = torch.cat([x, y], 3), torch.cat([painted[side] for side in sides], 3)
            write_image(blind / f"{pair + 1:02}.png", to_arrays(torch.cat([top, bottom], 2))[0])
    if blind is not None:
        blind.with_suffix(".json").write_text(json.dumps(order, indent=1), encoding="utf8")
    return rows


def table(rows: Mapping[str, list[dict[str, float]]], sharing: Sharing) -> str:
    """In Markdown, each figure with its 95 % interval."""
    metrics = list(next(iter(rows.values()))[0])
    lines = ["| | " + " | ".join(metrics) + " |", "|---" * (len(metrics) + 1) + "|"]
    for name, each in rows.items():
        part = Sharing(*(ids[: len(each)] for ids in sharing))
        figures = [shown(np.array([row[metric] for row in each]), part) for metric in metrics]
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return "\n".join(lines)


def difference(rows: Mapping[str, list[dict[str, float]]], one: str, other: str) -> list[dict[str, float]]:
    """Of two methods on each pair: its interval is narrower than both methods' own."""
    return [{metric: a[metric] - b[metric] for metric in a} for a, b in zip(rows[one], rows[other], strict=False)]


def shown(values: np.ndarray, sharing: Sharing) -> str:
    influence = torch.from_numpy((values - values.mean()) / len(values))
    found: Estimate = estimate(float(values.mean()), influence, sharing)
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=["quantart/open"], help="quantart/open, or folders of models")
    parser.add_argument("--refine", type=int, default=0, metavar="STEPS", help="of the first model's answers too")
    parser.add_argument("--pairs", type=int, help="the first so many; default: all")
    parser.add_argument("--blind", type=Path, metavar="FOLDER", help="write the pairs for a viewer")
    options = parser.parse_args()
    project = find_project()
    side = project.params().data.resolution
    contents, styles = (PackedPictures(project.prepared(domain), "test") for domain in ("content", "style"))
    pairs = read_pairs(project.pairs("test"), contents, styles)[: options.pairs]
    models = {name: ExperimentStage2.from_pretrained(name).eval() for name in options.models}
    painters: dict[str, Painter] = {name: one_pass(model) for name, model in models.items()}
    painters |= {MAGENTA: MagentaStylizer(), "tinted photograph": match_colours, "photograph": lambda x, y: x}
    first = models[options.models[0]]
    painters["painting's reconstruction"] = lambda x, y: first.decode(first.style_latents(y))
    compared = list(models)
    if options.refine:
        compared.append(f"refined {options.refine}")
        painters[compared[-1]] = refined(first, options.refine)
    if options.blind:
        options.blind.mkdir(parents=True)
    rows = judge(
        painters,
        [pixels_to_float(contents.centre([content], side)) for content, _ in pairs],
        [pixels_to_float(styles.centre([style], side)) for _, style in pairs],
        options.blind,
    )
    for name in compared:
        rows[f"{name} minus {MAGENTA}"] = difference(rows, name, MAGENTA)
    print(table(rows, Sharing.of(*zip(*pairs, strict=True))))


if __name__ == "__main__":
    main()
