"""ONNX's messages as bytes. There are few of them; the package `onnx` would be 18 MB and a tenth of a second for this.

Protocol Buffers' encoding, and the numbers of fields and types that ONNX's `onnx.proto` gives them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FLOAT, INT64, BOOL, FLOAT16, DOUBLE, BFLOAT16 = 1, 7, 9, 10, 11, 16
"""Types of a tensor's elements."""
EXTERNAL = 1  # where a tensor's data are

Size = int | str | None
"""Of a dimension: fixed, as large as others of that name, or any."""


class Message(bytes):
    """A message that may be a field of another one."""


def message(fields: Mapping[int, Any]) -> Message:
    """Whole numbers, numbers, text, bytes and messages by their fields' numbers; a list is a repeated field."""
    return Message(b"".join(_field(number, value) for number, value in fields.items()))


def _field(number: int, value: Any) -> bytes:
    if isinstance(value, list):
        return b"".join(_field(number, each) for each in value)
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the least first; the highest bit says that more follow. Negative ones as if of 64 bits."""
    value %= 2**64
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any) -> Message:
    made = [_attribute(name, value) for name, value in attributes.items()]
    return message({1: list(inputs), 2: list(outputs), 4: kind, 5: made})


def _attribute(name: str, value: int | str | list[int] | Message) -> Message:
    """Its place and its type say which kind of value it is."""
    if isinstance(value, Message):
        return message({1: name, 6: value, 20: 5})
    if isinstance(value, list):
        return message({1: name, 8: value, 20: 7})
    return message({1: name, 3: value, 20: 2} if isinstance(value, int) else {1: name, 4: value, 20: 3})


def value_info(name: str, kind: int, shape: Iterable[Size]) -> Message:
    """An input or an output."""
    sizes = [message({} if size is None else {1 if isinstance(size, int) else 2: size}) for size in shape]
    return message({1: name, 2: message({1: message({1: kind, 2: message({1: sizes})})})})


def tensor(name: str, kind: int, shape: Sequence[int], data: bytes) -> Message:
    return message({1: list(shape), 2: kind, 8: name, 9: data})


def tensor_in_file(name: str, kind: int, shape: Sequence[int], **place: Any) -> Message:
    """place: `location`, a file beside the graph; `offset` and `length` in bytes."""
    entries = [message({1: key, 2: str(value)}) for key, value in place.items()]
    return message({1: list(shape), 2: kind, 8: name, 13: entries, 14: EXTERNAL})


def graph(
    name: str,
    nodes: list[Message],
    inputs: list[Message],
    outputs: list[Message],
    initializers: Iterable[Message] = (),
) -> Message:
    return message({1: nodes, 2: name, 5: list(initializers), 11: inputs, 12: outputs})


def model(of: Message, opset: int, ir_version: int) -> bytes:
    return message({1: ir_version, 2: "quantart", 7: of, 8: message({1: "", 2: opset})})
