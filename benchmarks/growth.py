"""How the cost of a stage-2 training step grows: the tables in docs/performance.md.

Time and memory of the 256-pixel presets' network with the batch, the resolution, the codebook's size and the number of
stored rows, one at a time, the others as the preset has them (the resolution without an adversary); each in a process
of its own. The exponent is the slope of a line through the logarithms: 1 is linear. Rows of codes are synthesised (in a
sparse file as to the latents).

    python benchmarks/growth.py [batch | resolution | codes | rows] [--threads 1] [--repeat 5]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

VALUES = {
    "batch": (1, 2, 4, 8, 16),
    "resolution": (64, 128, 256, 512),
    "codes": (256, 1024, 4096, 16384, 65536),
    "rows": (1_000, 10_000, 100_000, 1_000_000),
}
CODES_A_SIDE = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("axis", nargs="?", choices=[*VALUES, "all"], default="all")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5, help="steps, of which the median counts")
    parser.add_argument("--here", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(json.dumps(measured(given.axis, given.here, given.threads, given.repeat)))
        return
    for axis in VALUES if given.axis == "all" else (given.axis,):
        found = [_in_own_process(axis, value, given) for value in VALUES[axis]]
        columns = list(found[0])
        print(f"\n| {axis} | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
        for value, row in zip(VALUES[axis], found, strict=True):
            print(f"| {value:,} | {' | '.join(f'{row[column]:.4g}' for column in columns)} |")
        slopes = (exponent(VALUES[axis], [row[column] for row in found]) for column in columns)
        print(f"| exponent | {' | '.join(f'{slope:.2f}' for slope in slopes)} |", flush=True)


def exponent(values: tuple[int, ...], costs: list[float]) -> float:
    """Slope of the line through the logarithms."""
    return float(np.polyfit(np.log(values), np.log(costs), 1)[0])


def _in_own_process(axis: str, value: int, given: argparse.Namespace) -> dict[str, float]:
    options = ["--here", str(value), "--threads", str(given.threads), "--repeat", str(given.repeat)]
    done = subprocess.run([sys.executable, __file__, axis, *options], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measured(axis: str, value: int, threads: int, repeat: int) -> dict[str, float]:
    """Cost at one value of an axis."""
    import torch
    from timing import peak_memory

    torch.set_num_threads(threads)
    cost = _of_rows(value, repeat) if axis == "rows" else _of_step(axis, value, repeat)
    return cost | {"peak (MB)": peak_memory() / 1e6}


def _of_step(axis: str, value: int, repeat: int) -> dict[str, float]:
    import cases

    params = cases.preset()
    if axis == "codes":
        params = params.model_copy(update={"model": params.model.model_copy(update={"n_embed": value})})
    side = value // 16 if axis == "resolution" else CODES_A_SIDE
    if axis == "resolution":  # 4 x 4 codes are too few for the discriminator
        without = params.stage2.discriminator.model_copy(update={"weight": 0.0})
        params = params.model_copy(update={"stage2": params.stage2.model_copy(update={"discriminator": without})})
    step = cases.stage_2_ours(value if axis == "batch" else params.stage2.train.batch_size, params, side)
    step()
    return {"a step (s)": _median(step, repeat)}


def _of_rows(rows: int, repeat: int) -> dict[str, float]:
    """From opening the folder to the first batch, and a batch from then on."""
    import cases

    from quantart.data.codes import CODES, LATENTS, StoredCodes, code_dtype
    from quantart.pipeline.stage2_task import TransferData, make_code_batches
    from quantart.training.launch import make_accelerator

    params, accelerator = cases.preset(), make_accelerator(seed=0)
    shape = (rows, CODES_A_SIDE, CODES_A_SIDE)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        draw = np.random.default_rng(0)
        codes = np.lib.format.open_memmap(
            folder / CODES.format(split="train"), mode="w+", dtype=code_dtype(params.model.n_embed), shape=shape
        )
        for start in range(0, rows, 10_000):
            codes[start : start + 10_000] = draw.integers(
                params.model.n_embed, size=(min(10_000, rows - start), 16, 16)
            )
        latents = (rows, params.model.embed_dim, *shape[1:])
        np.lib.format.open_memmap(folder / LATENTS.format(split="train"), mode="w+", dtype=np.uint16, shape=latents)
        (folder / "index.json").write_text(json.dumps({"copies": 1}))
        begun = time.perf_counter()
        stored = StoredCodes(folder, "train")
        data = TransferData({}, {"content": stored, "style": stored}, None, {}, [])
        batches = make_code_batches(params, "discrete", data, accelerator)
        batches(0)
        start_s = time.perf_counter() - begun
        steps = iter(range(1, repeat + 1))
        return {"start (s)": start_s, "a batch (s)": _median(lambda: batches(next(steps)), repeat)}


def _median(call: Callable[[], object], repeat: int) -> float:
    from timing import seconds

    return float(np.median([seconds(call) for _ in range(repeat)]))


if __name__ == "__main__":
    main()
