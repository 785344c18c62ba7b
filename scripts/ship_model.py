"""Make `quantart/open`, the model that comes with the package, from a trained project.

    python scripts/ship_model.py PROJECT

Weights are stored in half precision. `docs/open-model.md` says what it was trained on.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from safetensors.torch import load_file, save

from quantart.machine.whole import whole_folder
from quantart.models.pretrained import CONFIG, WEIGHTS
from quantart.models.shipped import Part, shipped

PARTS: dict[Part, str] = {
    "stage1_base": "stage1_base",
    "stage1_content": "stage1_content",
    "stage1_style": "stage1_style",
    "stage2_discrete": "stage2_discrete",
    "stage2_continuous": "stage2_discrete",  # not quantised: the network learned on its continuous output
}
CODEBOOKS = ("quantize_enc.", "quantize_dec.")


def main(project: Path) -> None:
    for part, stage in PARTS.items():
        source = project / "models" / stage
        with whole_folder(shipped(part)) as out:
            state = load_file(source / WEIGHTS)
            config = json.loads((source / CONFIG).read_text(encoding="utf8"))
            if part == "stage2_continuous":
                config["variant"] = "continuous"
                state = {name: tensor for name, tensor in state.items() if not name.startswith(CODEBOOKS)}
            halves = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
            (out / WEIGHTS).write_bytes(save(halves))
            (out / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf8")
        print(f"{shipped(part)}: {(shipped(part) / WEIGHTS).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
