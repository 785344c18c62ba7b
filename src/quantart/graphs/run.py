"""Running a network's graphs with onnxruntime: arrays in, arrays out."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from quantart.errors import UserError, one_line
from quantart.graphs.network import network_graphs
from quantart.models.folder import WEIGHTS

Array = NDArray[np.float32]


class Graphs:
    """The graphs of the network in a folder, each opened when it is first run. Threads may share them.

    Raises:
        UserError: the network is none that has graphs; at a first run: its weights are damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._models = network_graphs(folder)
        self._session = lru_cache(self._opened)

    def run(self, graph: str, **inputs: Any) -> dict[str, Array]:
        """The outputs by name. Inputs that the graph does not have are left out."""
        session = self._session(graph)
        given = {each.name: inputs[each.name] for each in session.get_inputs()}
        return dict(zip((each.name for each in session.get_outputs()), session.run(None, given), strict=True))

    def _opened(self, graph: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        # threads that spin between calls would take cores away from others
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self._folder))
        try:
            return onnxruntime.InferenceSession(self._models[graph], options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's have no other common ancestor
            raise UserError(f"{self._folder / WEIGHTS}: cannot be opened: {one_line(error)}") from error


def threads() -> int:
    """As many as `OMP_NUM_THREADS` says, which torch obeys too; 0: one per core."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else 0
