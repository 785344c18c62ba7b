"""A training step of a base from scratch with the project's `params.yaml`: pictures a second of processor time.

    OMP_NUM_THREADS=1 python benchmarks/base.py [--batch 8] [--step 3600] [--repeat 12]

`ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 ACCELERATE_MIXED_PRECISION=no` before it
show about what a processor without AVX-512 would do.
"""

from __future__ import annotations

import argparse
import statistics
import time
from itertools import count
from pathlib import Path

import torch
import torch.nn.functional as F
from cases import batch_of
from machine import floor, operations

from quantart.pipeline import stage1_task
from quantart.project import Project
from quantart.training.launch import make_accelerator
from quantart.training.loop import Update

ROOT = Path(__file__).parents[1]
WARM = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--step", type=int, default=3600, help="of the training: later ones have more losses")
    parser.add_argument("--repeat", type=int, default=12)
    options = parser.parse_args()
    params, accelerator = Project(ROOT).params(), make_accelerator(seed=0)
    torch.manual_seed(0)
    objective = stage1_task.make_objective(stage1_task.make_model(params, None), params, "base")
    objective.quantize_from = 0
    crop = params.stage1.base.crop
    x = F.interpolate(batch_of("paintings", options.batch), size=(crop, crop), mode="area")
    update, steps = Update(objective, params.stage1.base, accelerator), count(options.step)

    def one() -> float:
        start = time.process_time()
        update(x, next(steps))
        return time.process_time() - start

    for _ in range(WARM):
        one()
    ops = operations(one)
    took = sorted(one() for _ in range(options.repeat))
    half = accelerator.mixed_precision == "bf16"
    least = floor(ops, 0, torch.bfloat16 if half else torch.float32)
    seconds = statistics.median(took)
    print(f"step {options.step}, batch {options.batch}, {'bfloat16' if half else 'float32'}: ", end="")
    print(f"{seconds * 1e3:.0f} ms (least {took[0] * 1e3:.0f}), {options.batch / seconds:.1f} pictures/s, ", end="")
    print(f"{ops / 1e9:.1f} GFLOP, floor {least * 1e3:.0f} ms ({least / seconds:.0%} of our time)")


if __name__ == "__main__":
    main()
