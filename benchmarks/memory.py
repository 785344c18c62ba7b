"""Peak memory of stylising one picture on a CPU with the networks of the 256-pixel presets, for docs/stylize.md.

Both variants are loaded, on the same VQGANs as the pipeline trains them, and mixed (alpha 0.5), which is what takes
most. The weights are random, which memory does not depend on. Each size runs in a process of its own. Ends with code 1
where one takes 3 GB or more.

    python benchmarks/memory.py [SIZE ...] [--threads 2]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNIT = 2**10 if sys.platform == "linux" else 1  # bytes of ru_maxrss
MOST = 3e9  # bytes
ALPHA = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[256, 1024, 2048], help="pixels of a square's side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        print(peak(given.sizes[0], given.threads))
        return
    print("| painted | peak memory |\n|---|---|", flush=True)
    peaks = []
    for size in given.sizes:
        command = [sys.executable, __file__, str(size), "--threads", str(given.threads), "--here"]
        peaks.append(int(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout))
        print(f"| {size} × {size} | {peaks[-1] / 1e9:.2f} GB |", flush=True)
    if max(peaks) >= MOST:
        sys.exit(f"{max(peaks) / 1e9:.2f} GB; it should be less than {MOST / 1e9:g} GB")


def peak(size: int, threads: int) -> int:
    """Bytes that this process held at most while it stylised a square of `size` pixels."""
    import torch
    import yaml

    from quantart.images.arrays import resize
    from quantart.images.decode import read_image
    from quantart.models.fidelity import FidelityControl
    from quantart.models.stage_1 import ExperimentStage1
    from quantart.models.stage_2 import ExperimentStage2
    from quantart.stylize.stylizer import Stylizer
    from quantart.vocabulary.names import VARIANTS

    torch.set_num_threads(threads)
    shape = yaml.safe_load((ROOT / "presets" / "_paper.yaml").read_text())["model"]
    n_embed, embed_dim = shape.pop("n_embed"), shape.pop("embed_dim")
    shape["resolution"] = 256
    vqgans = [ExperimentStage1(shape, n_embed, embed_dim) for _ in range(2)]
    networks = [ExperimentStage2.from_stage1(*vqgans, variant=variant) for variant in VARIANTS]
    del vqgans
    stylizer = Stylizer(FidelityControl(*networks))
    del networks
    photo = next((ROOT / "data" / "sample" / "photos").glob("*.jpg"))
    picture = read_image(photo, max_pixels=10**8)
    painted = stylizer.stylize(resize(picture, size, size), picture, ALPHA, size=size)
    if painted.shape != (size, size, 3):
        raise AssertionError(painted.shape)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


if __name__ == "__main__":
    main()
