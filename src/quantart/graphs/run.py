"""Running a network's graphs with onnxruntime: arrays in, arrays out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from quantart.errors import UserError, one_line
from quantart.graphs.network import network_graphs
from quantart.models.folder import WEIGHTS

Array = NDArray[np.float32]

# all sessions share one arena, which grows by what is missing: each session's own would double, and keep, its memory
_ARENA = onnxruntime.OrtMemoryInfo(
    "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
)
_AS_REQUESTED = {
    "arena_extend_strategy": 1,
    "max_mem": 0,
    "initial_chunk_size_bytes": -1,
    "max_dead_bytes_per_chunk": -1,
}
onnxruntime.create_and_register_allocator(_ARENA, onnxruntime.OrtArenaCfg(_AS_REQUESTED))


class Graphs:
    """The graphs of the network in a folder, which is read once, here. Threads may share them.

    Raises:
        UserError: the network is none that has graphs, or its weights are damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._sessions = {name: _opened(model) for name, model in network_graphs(folder, copied=True).items()}
        except UserError:
            raise
        except Exception as error:  # onnxruntime's have no other common ancestor
            raise UserError(f"{folder / WEIGHTS}: cannot be opened: {one_line(error)}") from error

    def run(self, graph: str, **inputs: Any) -> dict[str, Array]:
        """The outputs by name. Inputs that the graph does not have are left out."""
        session = self._sessions[graph]
        given = {each.name: inputs[each.name] for each in session.get_inputs()}
        return dict(zip((each.name for each in session.get_outputs()), session.run(None, given), strict=True))


def _opened(model: bytes) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads()
    # threads that spin between calls would take cores away from others
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.use_env_allocators", "1")
    options.enable_mem_pattern = False  # a plan would be kept for every size of picture
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def threads() -> int:
    """As many as `OMP_NUM_THREADS` says, which torch obeys too; 0: one per core."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else 0
