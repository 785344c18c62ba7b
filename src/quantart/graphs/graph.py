"""An ONNX graph in the making. A value is known by its name; weights are those of a safetensors file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quantart.graphs import proto
from quantart.graphs.proto import Message, Size

OPSET, IR_VERSION = 18, 9  # no newer than what is used needs: browsers lag behind
STORED = {"F32": proto.FLOAT, "F16": proto.FLOAT16, "BF16": proto.BFLOAT16, "F64": proto.DOUBLE}
KINDS = {"float32": proto.FLOAT, "int64": proto.INT64}


class Weights:
    """The tensors of a safetensors file: a length, a JSON header of that length, then the numbers.

    Args:
        copied: whether graphs hold the numbers, instead of their places in the file.

    Raises:
        OSError, ValueError: the file is missing or damaged.
    """

    def __init__(self, file: Path, *, copied: bool) -> None:
        data = file.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        self.entries: dict[str, Any] = json.loads(data[8:start])
        self.entries.pop("__metadata__", None)
        self.used: set[str] = set()
        self._name, self._start, self._data = file.name, start, data if copied else None
        if start + max(entry["data_offsets"][1] for entry in self.entries.values()) != len(data):
            raise ValueError("it is not as long as it says")

    def shape(self, name: str) -> list[int]:
        return list(self.entries[name]["shape"])

    def in_float32(self, name: str) -> bool:
        return bool(self.entries[name]["dtype"] == "F32")

    def tensor(self, name: str) -> Message:
        """An initializer that holds its numbers, or says where they are."""
        self.used.add(name)
        entry = self.entries[name]
        begin, end = (self._start + offset for offset in entry["data_offsets"])
        of = name, STORED[entry["dtype"]], entry["shape"]
        if self._data:
            return proto.tensor(*of, self._data[begin:end])
        return proto.tensor_in_file(*of, location=self._name, offset=begin, length=end - begin)


class Graph:
    """Nodes in the order in which they are added."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self._nodes: list[Message] = []
        self._initializers: dict[str, Message] = {}
        self._weights_in_float32: dict[str, str] = {}
        self._inputs: list[Message] = []
        self._outputs: list[Message] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """A node with one output."""
        (output,) = self.add_with(1, kind, *inputs, **attributes)
        return output

    def add_with(self, outputs: int, kind: str, *inputs: str, **attributes: Any) -> list[str]:
        names = [f"{kind}.{len(self._nodes)}.{place}" for place in range(outputs)]
        self._nodes.append(proto.node(kind, inputs, names, **attributes))
        return names

    def input(self, name: str, *shape: Size, kind: int = proto.FLOAT) -> str:
        self._inputs.append(proto.value_info(name, kind, shape))
        return name

    def output(self, value: str, name: str, *shape: Size) -> None:
        self._nodes.append(proto.node("Identity", [value], [name]))
        self._outputs.append(proto.value_info(name, proto.FLOAT, shape))

    def whole(self, *numbers: int) -> str:
        """A constant list of whole numbers."""
        return self._constant(np.array(numbers, np.int64))

    def scalar(self, number: int) -> str:
        """A constant whole number."""
        return self._constant(np.array(number, np.int64))

    def number(self, value: float) -> str:
        """A constant number."""
        return self._constant(np.array(value, np.float32))

    def _constant(self, array: NDArray[Any]) -> str:
        name = f"{array.dtype}{array.tolist()}"
        self._initializers[name] = proto.tensor(name, KINDS[str(array.dtype)], array.shape, array.tobytes())
        return name

    def weight(self, name: str) -> str:
        """In float32, whatever it is stored as."""
        if name not in self._weights_in_float32:
            self._initializers[name] = self.weights.tensor(name)
            as_it_is = self.weights.in_float32(name)
            self._weights_in_float32[name] = name if as_it_is else self.add("Cast", name, to=proto.FLOAT)
        return self._weights_in_float32[name]

    def model(self, name: str) -> bytes:
        graph = proto.graph(name, self._nodes, self._inputs, self._outputs, self._initializers.values())
        return proto.model(graph, OPSET, IR_VERSION)
