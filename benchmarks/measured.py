"""What `run.py` measures and says of each case."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from cases import CASES
from machine import description, floor, operations
from report import write_report
from timing import alternate, spread

from quantart.machine.device import default_device, precision

MB = 1e6


def measure(name: str, batch: int, rounds: int) -> dict[str, Any]:
    """The figures of one case, as the last line of `--json` has them."""
    case = CASES[name]
    ours = case.ours(batch)
    reference_times, times = alternate(case.reference(batch), ours, rounds)
    ops = operations(case.counted(batch) if case.counted else ours)
    in_half = case.in_half is not None and precision(cpu=default_device().type == "cpu") == "bf16"
    least = floor(ops, case.least_bytes(batch), torch.bfloat16 if in_half else torch.float32)
    median, reference_median = statistics.median(times), statistics.median(reference_times)
    return {
        "name": name,
        "batch": batch,
        "rounds": rounds,
        "ratio": reference_median / median,
        "ratio_of_best": min(reference_times) / min(times),
        "ours_s": median,
        "ours_spread": spread(times),
        "reference_s": reference_median,
        "reference_spread": spread(reference_times),
        "pictures_per_second": batch / median,
        "precision": case.in_half if in_half else "float32",
        "operations": ops,
        "floor_s": least,
        "of_floor": least / median,
    }


def peak_alone(name: str, batch: int) -> float:
    """MB at the peak of a process that does it our way alone, twice."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("run.py")),
        name,
        "--batch",
        str(batch),
        "--threads",
        str(torch.get_num_threads()),
    ]
    done = subprocess.run([*command, "--peak"], check=True, capture_output=True, text=True)
    return float(done.stdout.splitlines()[-1])


def shown(figures: dict[str, Any]) -> str:
    case = CASES[figures["name"]]
    return "\n".join(
        [
            f"{figures['name']}: {case.what}, batch {figures['batch']}, {figures['rounds']} rounds",
            f"  reference  {figures['reference_s']:9.4f} s ± {figures['reference_spread']:.0%}  ({case.against})",
            f"  ours       {figures['ours_s']:9.4f} s ± {figures['ours_spread']:.0%}  ({figures['precision']})",
            f"  ratio      {figures['ratio']:9.2f}  (of the best calls {figures['ratio_of_best']:.2f})",
            f"  floor      {figures['floor_s']:9.4f} s  ({figures['of_floor']:.0%} of our time)",
            f"  peak       {figures['peak_mb']:9.0f} MB",
        ]
    )


def main(about: str | None) -> None:
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=[*CASES, "all"])
    parser.add_argument("--batch", type=int, help="pictures in one call; default: the case's own")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of torch")
    parser.add_argument("--rounds", type=int, help="calls of each way; default: the case's own")
    parser.add_argument("--json", action="store_true", help="one JSON object per case, on a line of its own")
    parser.add_argument("--results", type=Path, help="write the table here too")
    parser.add_argument("--peak", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = list(CASES) if options.name == "all" else [options.name]
    if options.peak:
        ours = CASES[names[0]].ours(options.batch)
        ours()
        ours()
        print(CASES[names[0]].peak() / MB)
        return
    found = []
    for name in names:
        batch = options.batch or CASES[name].batch
        figures = measure(name, batch, options.rounds or CASES[name].rounds)
        found.append(figures | {"peak_mb": peak_alone(name, batch)})
        print(shown(found[-1]), flush=True)
        if options.json:
            print(json.dumps(found[-1]), flush=True)
    if options.results:
        write_report(options.results, found, description())
