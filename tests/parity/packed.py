"""The golden numbers of this repository in one small file: packing a folder of cases, and unpacking it again.

    python -m tests.parity.packed DIR      # DIR: a whole golden folder

Tensors that several cases share are kept once. Numbers lie byte by byte (all first bytes, then all second ones, …),
which compresses better. What is left out is in `golden/README.md`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

PACKED = Path(__file__).parent / "golden" / "cases.npz"
LARGEST_AFTER = 20_000  # bytes of one tensor of the VQGAN after its training


def pack(folder: Path, file: Path) -> None:
    """Write all cases and checkpoints of `folder` to `file`."""
    found: dict[str, tuple[dict[str, Any], dict[str, Tensor]]] = {}
    for path in sorted(folder.glob("*.ckpt")):
        checkpoint = torch.load(path, weights_only=True)
        tensors = checkpoint.pop("state_dict")
        found[path.name] = checkpoint, dict(tensors)
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as case:
            tensors = {name: case.get_tensor(name) for name in case.keys()}  # noqa: SIM118
            found[path.name] = _smaller(path.stem, json.loads(case.metadata()["config"]), tensors)
    places: dict[tuple[str, bytes], int] = {}
    values: dict[str, list[bytes]] = {}
    index: dict[str, Any] = {}
    for name, (config, tensors) in found.items():
        entries = {}
        for key, tensor in tensors.items():
            array = tensor.contiguous().numpy()
            kind, data = array.dtype.str, array.tobytes()
            if (kind, data) not in places:
                places[kind, data] = sum(map(len, values.setdefault(kind, []))) // array.dtype.itemsize
                values[kind].append(data)
            entries[key] = [kind, places[kind, data], list(array.shape)]
        index[name] = {"config": config, "tensors": entries}
    planes = {
        kind: np.frombuffer(b"".join(parts), np.uint8).reshape(-1, np.dtype(kind).itemsize).T.copy()
        for kind, parts in values.items()
    }
    np.savez_compressed(file, index=np.frombuffer(json.dumps(index).encode(), np.uint8), **planes)  # type: ignore[arg-type]


def unpack(file: Path, folder: Path) -> None:
    """Write each case as `.safetensors`, and each checkpoint as the reference's trainer does."""
    with np.load(file, allow_pickle=False) as packed:
        index = json.loads(packed["index"].tobytes())
        values = {
            kind: np.ascontiguousarray(packed[kind].T).view(kind).ravel() for kind in packed.files if kind != "index"
        }

    def tensor(kind: str, start: int, shape: list[int]) -> Tensor:
        return torch.from_numpy(values[kind][start : start + int(np.prod(shape))].reshape(shape).copy())

    for name, case in index.items():
        tensors = {key: tensor(*place) for key, place in case["tensors"].items()}
        if name.endswith(".ckpt"):
            torch.save({**case["config"], "state_dict": tensors}, folder / name)
        else:
            save_file(tensors, folder / name, {"config": json.dumps(case["config"])})


def _smaller(
    name: str, config: dict[str, Any], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A case without what the repository has no room for."""
    if name == "stage1_train":
        large = [k for k, t in tensors.items() if k.startswith("state_after/") and t.nbytes > LARGEST_AFTER]
        return config | {"left_out": large}, {key: tensor for key, tensor in tensors.items() if key not in large}
    if name == "fidelity_control":  # its pictures don't depend on each other
        return config, {k: t if k.startswith("state") else t[:1] for k, t in tensors.items()}
    return config, dict(tensors)


if __name__ == "__main__":
    pack(Path(sys.argv[1]), PACKED)
