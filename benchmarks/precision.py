"""Whether bfloat16 changes what a VQGAN says: codes that agree with float32's, and the PSNR of reconstructions.

    python benchmarks/precision.py --model models/stage1_content --pictures data/prepared/content [--number 48] [--json]

Reports the share of codes that agree when the encoder runs under bfloat16's autocast, how near to a tie the others
are (the excess of the distance to the chosen code over that to float32's, as a share of the mean distance), and the
PSNR of float32 throughout, of a decoder in bfloat16, and of both in bfloat16. On a processor without instructions for
bfloat16 the results are the same, only slow.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from torch import Tensor

from quantart.data.pictures import PackedPictures
from quantart.evaluation.metrics import psnr
from quantart.images.arrays import pixels_to_float
from quantart.machine.device import default_device
from quantart.models.stage_1 import ExperimentStage1

BATCH = 8


@torch.inference_mode()
def compared(model: ExperimentStage1, pictures: Tensor) -> dict[str, float]:
    """Figures of the script's answer, means over pictures `(b, 3, h, w)` in [-1, 1]."""
    kind = pictures.device.type
    z = model.latents(pictures)
    codes = model.quantize.nearest(z)
    with torch.autocast(kind, torch.bfloat16):
        other = model.quantize.nearest(model.latents(pictures))

    def distance(indices: Tensor) -> Tensor:
        return (model.quantize.lookup(indices) - z).square().sum(1)

    differ = codes != other
    excess = (distance(other) - distance(codes))[differ].sum() / distance(codes).mean() / differ.sum().clamp_min(1)
    figures = {"codes_agree": 1.0 - differ.float().mean(), "excess_of_the_others": excess}
    for name, indices, half in (
        ("psnr_float32", codes, False),
        ("psnr_bfloat16_decoder", codes, True),
        ("psnr_bfloat16", other, True),
    ):
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            painted = model.decode(model.quantize.lookup(indices))
        figures[name] = psnr(painted.float().clamp(-1, 1), pictures).mean()
    return {name: float(value) for name, value in figures.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained stage-1 model")
    parser.add_argument("--pictures", type=Path, required=True, help="folder of prepared pictures")
    parser.add_argument("--number", type=int, default=48, help="pictures, of the training split")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    device = default_device()
    model = ExperimentStage1.from_pretrained(given.model).eval().to(device)
    source = PackedPictures(given.pictures, "train")
    number = min(given.number, len(source)) // BATCH * BATCH
    pictures = source.centre(range(number), int(model.config["ddconfig"]["resolution"]))
    parts = [compared(model, pixels_to_float(part.to(device))) for part in pictures.split(BATCH)]
    means = {name: sum(part[name] for part in parts) / len(parts) for name in parts[0]}
    print(json.dumps({"pictures": number, **means}, indent=None if given.json else 2))


if __name__ == "__main__":
    main()
