"""Peak memory of evaluating few and many pairs on a CPU, for docs/evaluation.md.

A small style transfer network for pictures of 256 pixels, whose weights are random (memory does not depend on them), is
tracked as a run of a store of its own and evaluated on pairs of data/sample, as by `quantart evaluate --content …
--style …`: each number of pairs in a process of its own. The exit code is 1 where many pairs need over 100 MB more.

    python benchmarks/evaluation_memory.py [--pairs 50 500] [--threads 1]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "data" / "sample"
UNIT = 2**10 if sys.platform == "linux" else 1  # bytes of ru_maxrss
ALLOWED = 100e6
SHAPE = {"ch": 16, "ch_mult": [1, 2, 2], "num_res_blocks": 1, "attn_resolutions": [], "dropout": 0.0}
SHAPE |= {"double_z": False, "z_channels": 32, "resolution": 256, "in_channels": 3, "out_ch": 3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", nargs=2, type=int, default=[50, 500], metavar=("FEW", "MANY"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--run", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        print(peak(given.run, given.pairs[0], given.threads))
        return
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
        os.environ["MLFLOW_TRACKING_URI"] = environment["MLFLOW_TRACKING_URI"]
        run_id = tracked_model(Path(folder))
        peaks = []
        for pairs in given.pairs:
            command = [sys.executable, str(Path(__file__).resolve()), "--run", run_id]
            command += ["--pairs", str(pairs), str(pairs), "--threads", str(given.threads)]
            # in that folder, for its reports
            done = subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.PIPE, text=True)
            peaks.append(int(done.stdout.splitlines()[-1]))
            print(f"{pairs} pairs: {peaks[-1] / 1e6:.0f} MB at most", flush=True)
    more = peaks[1] - peaks[0]
    print(f"difference: {more / 1e6:+.0f} MB")
    sys.exit(more > ALLOWED)


def tracked_model(folder: Path) -> str:
    """Id of a finished run with a small network."""
    from quantart.models.stage_1 import ExperimentStage1
    from quantart.models.stage_2 import ExperimentStage2
    from quantart.tracking.runs import stage_run

    content, style = (ExperimentStage1(SHAPE, n_embed=256, embed_dim=32) for _ in range(2))
    ExperimentStage2.from_stage1(content, style, variant="discrete", block_num=1).save_pretrained(folder / "model")
    with stage_run(folder, family="stage2", name="small", params={"variant": "discrete"}) as run:
        run.artifact(folder / "model", "model")
    return run.run_id


def peak(run_id: str, pairs: int, threads: int) -> int:
    """Bytes that this process held at most while it evaluated that many pairs."""
    import torch

    from quantart.pipeline.evaluate import Options, run

    torch.set_num_threads(threads)
    options = Options(content=SAMPLE / "photos", style=SAMPLE / "paintings", pairs=pairs, device="cpu")
    measured = run(None, run_id, options)["discrete"]["n"]
    if measured != pairs:
        raise AssertionError(measured)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


if __name__ == "__main__":
    main()
