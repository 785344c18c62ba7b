"""Make `quantart/open`, the model that comes with the package, from a trained project.

    python scripts/ship_model.py PROJECT

Weights are stored in half precision; the continuous variant is the discrete one without its codebooks.
`docs/open-model.md` says what it was trained on.
"""

from __future__ import annotations

import sys
from pathlib import Path
from shutil import copyfile
from typing import get_args

from safetensors.torch import load_file, save

from quantart.machine.whole import whole_folder
from quantart.models.folder import CONFIG, WEIGHTS
from quantart.models.shipped import Part, shipped


def main(project: Path) -> None:
    for part in get_args(Part):
        source = project / "models" / part
        with whole_folder(shipped(part)) as out:
            state = load_file(source / WEIGHTS)
            halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
            (out / WEIGHTS).write_bytes(save(halves))
            copyfile(source / CONFIG, out / CONFIG)
        print(f"{shipped(part)}: {(shipped(part) / WEIGHTS).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
