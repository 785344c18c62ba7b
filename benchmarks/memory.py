"""Peak memory of stylising one picture on a CPU with the network of the 256-pixel presets, for docs/stylize.md.

The weights are random, which memory does not depend on. Each size runs in a process of its own.

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, default=[256, 1024, 2048], help="pixels of a square's side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    for size in given.sizes:
        if given.here:
            print(f"{size} × {size}: {peak(size, given.threads) / 1e9:.2f} GB at most")
        else:
            command = [sys.executable, __file__, str(size), "--threads", str(given.threads), "--here"]
            subprocess.run(command, check=True)


def peak(size: int, threads: int) -> int:
    """Bytes that this process held at most while it stylised a square of `size` pixels."""
    import torch
    import yaml

    from quantart.images import read_image, resize
    from quantart.models.stage_2 import ExperimentStage2
    from quantart.serving.stylizer import Stylizer

    torch.set_num_threads(threads)
    shape = yaml.safe_load((ROOT / "presets" / "_paper.yaml").read_text())["model"]
    n_embed, embed_dim = shape.pop("n_embed"), shape.pop("embed_dim")
    stylizer = Stylizer(ExperimentStage2({**shape, "resolution": 256}, n_embed, embed_dim))
    photo = next((ROOT / "data" / "sample" / "photos").glob("*.jpg"))
    picture = read_image(photo, max_pixels=10**8)
    painted = stylizer.stylize(resize(picture, size, size), picture, size=size)
    if painted.shape != (size, size, 3):
        raise AssertionError(painted.shape)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


if __name__ == "__main__":
    main()
