"""Cost of the lean VQGAN beside the default's: multiplications and one thread's time for a picture of 384 × 384 pixels.

python benchmarks/lean.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from quantart.models.stage_1 import ExperimentStage1
from quantart.params.model import ModelParams

SIDE, CALLS = 384, 15
SHAPES = {
    "default": {"ch": 12, "ch_mult": [1, 2, 2], "z_channels": 32, "embed_dim": 24, "n_embed": 1024},
    "lean": {
        **{"architecture": "lean", "patch": 2, "ch": 32, "ch_mult": [1, 2]},
        **{"z_channels": 16, "embed_dim": 16, "n_embed": 2048},
    },
}


def least(call: Callable[[], object]) -> float:
    """Seconds of processor time of the fastest call."""
    times = []
    for _ in range(CALLS):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


@torch.inference_mode()
def main() -> None:
    torch.set_num_threads(1)
    for name, values in SHAPES.items():
        shape = ModelParams.model_validate({"num_res_blocks": 1, "attn_resolutions": [], **values})
        vqgan = ExperimentStage1(shape.ddconfig(SIDE), shape.n_embed, shape.embed_dim).eval()
        picture = torch.randn(1, 3, SIDE, SIDE).clamp(-1, 1)
        latents = vqgan.latents(picture)
        codes = vqgan.quantize(latents).z_q
        parts: dict[str, Callable[[], object]] = {
            "encode": lambda vqgan=vqgan, picture=picture: vqgan.latents(picture),
            "nearest": lambda vqgan=vqgan, latents=latents: vqgan.quantize.nearest(latents),
            "decode": lambda vqgan=vqgan, codes=codes: vqgan.decode(codes),
        }
        print(f"{name}: {sum(p.numel() for p in vqgan.parameters())} parameters")
        for part, call in parts.items():
            with FlopCounterMode(display=False) as counter:
                call()
            with torch.autocast("cpu", torch.bfloat16):
                half = least(call)
            macs = counter.get_total_flops() / 2e9
            print(f"  {part:8} {macs:5.2f} GMAC  float32 {least(call):.3f} s  bfloat16 {half:.3f} s", flush=True)


if __name__ == "__main__":
    main()
