"""Whether speed changes what is learned: losses of the same training with all speed-ups on and off.

Trains the present project's stage 1, on the continuation of the paintings, for each of three seeds: on is the product's
own update in the precision that it takes here, off the same in float32 with the default layout, attention written out
and Adam not fused. The losses are means over the last steps. On and off of one seed start from the same weights and see
the same batches; how far seeds differ is the run-to-run spread that they are held against.

    python benchmarks/losses.py [--steps 200] [--last 50]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

import reference
import torch
from accelerate import Accelerator

from quantart.data.pictures import PackedPictures
from quantart.params import Params
from quantart.pipeline import stage1_task
from quantart.project import Project, find_project
from quantart.training.launch import make_accelerator
from quantart.training.loop import Update

SEEDS = (0, 1, 2)


def losses(project: Project, params: Params, seed: int, steps: int, last: int, fast: bool) -> dict[str, float]:
    """Mean losses over the last steps."""
    accelerator = make_accelerator(seed) if fast else Accelerator(cpu=True, mixed_precision="no")
    params = params.model_copy(update={"seed": seed})
    torch.manual_seed(seed)
    model = stage1_task.make_model(params, project.stage1_model("base"))
    objective = stage1_task.make_objective(model, params, "style")
    if not fast:
        reference.plain(objective)
    training = params.stage1.domain.model_copy(update={"steps": steps})
    update = Update(objective, training, accelerator)
    if not fast:
        for optimizer in update.state.optimizers.values():
            for group in optimizer.param_groups:
                group["fused"] = False
    batches = stage1_task.make_batches(
        {"style": PackedPictures(project.prepared("style"), "train")}, params, "style", accelerator
    )
    for number in range(steps):
        torch.manual_seed(seed * steps + number)
        if number == steps - last:
            update.means.take(accelerator)
        update(batches(number), number)
    return update.means.take(accelerator)


def in_own_process(seed: int, fast: bool, options: argparse.Namespace) -> dict[str, float]:
    """An Accelerator's precision holds for its whole process."""
    own = [f"--seed={seed}", *(["--fast"] if fast else []), f"--steps={options.steps}", f"--last={options.last}"]
    done = subprocess.run([sys.executable, __file__, *own], check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--last", type=int, default=50, help="steps that the means are taken over")
    parser.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--fast", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seed is not None:
        project = find_project()
        values = losses(project, project.params(), options.seed, options.steps, options.last, options.fast)
        print(json.dumps(values))
        return
    found = [[in_own_process(seed, fast, options) for fast in (True, False)] for seed in SEEDS]
    print(f"| loss | {' | '.join(f'seed {seed}, on | off' for seed in SEEDS)} | on - off | spread of seeds |")
    print("|---" * (2 * len(SEEDS) + 3) + "|")
    for name in ("nll_loss", "perceptual_loss", "codebook_loss", "total_loss", "discriminator_loss"):
        rows = [[each[name] for each in pair] for pair in found if name in pair[0]]
        if not rows:
            continue
        differences = max(abs(on - off) for on, off in rows)
        spread = statistics.stdev(off for _, off in rows)
        values = " | ".join(f"{value:.4f}" for row in rows for value in row)
        print(f"| {name} | {values} | at most {differences:.4f} | {spread:.4f} |")


if __name__ == "__main__":
    main()
