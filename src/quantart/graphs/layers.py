"""The layers of `components`, of the same names, as parts of an ONNX graph. Those modules say what is computed."""

from __future__ import annotations

import math
from typing import Any

from quantart.graphs import proto
from quantart.graphs.graph import Graph

PART = 64  # codes whose distances are looked through at once


def silu(g: Graph, x: str) -> str:
    return g.add("Mul", x, g.add("Sigmoid", x))


def conv(g: Graph, name: str, x: str, stride: int = 1, edge: bool = False) -> str:
    """A convolution padded by zeros, or by what is at the `edge`."""
    side = g.weights.shape(f"{name}.weight")[2]
    pad = (side - 1) // 2
    if edge and pad:
        x, pad = g.add("Pad", x, g.whole(0, 0, pad, pad, 0, 0, pad, pad), mode="edge"), 0
    weights = g.weight(f"{name}.weight"), g.weight(f"{name}.bias")
    return g.add("Conv", x, *weights, kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4)


def lean_block(g: Graph, name: str, x: str) -> str:
    return g.add("Add", x, conv(g, f"{name}.conv2", silu(g, conv(g, f"{name}.conv1", x))))


def lean_encoder(g: Graph, name: str, shape: dict[str, Any], x: str) -> str:
    x, layer = _unshuffled_conv(g, f"{name}.conv_in", shape["patch"], x), 0
    for level in range(len(shape["ch_mult"])):
        if level:
            x, layer = conv(g, f"{name}.body.{layer}", x, stride=2), layer + 1
        for _ in range(shape["num_res_blocks"]):
            x, layer = lean_block(g, f"{name}.body.{layer}", x), layer + 1
    return conv(g, f"{name}.conv_out", silu(g, x))


def _unshuffled_conv(g: Graph, name: str, patch: int, x: str) -> str:
    """Space to depth and a convolution as one convolution with strides, whose kernel is as much larger."""
    out, _, side, _ = g.weights.shape(f"{name}.weight")
    kernel = g.add("Reshape", g.weight(f"{name}.weight"), g.whole(out, 3, patch, patch, side, side))
    kernel = g.add("Transpose", kernel, perm=[0, 1, 4, 2, 5, 3])
    kernel = g.add("Reshape", kernel, g.whole(out, 3, side * patch, side * patch))
    sides = {"kernel_shape": [side * patch] * 2, "strides": [patch] * 2, "pads": [side // 2 * patch] * 4}
    return g.add("Conv", x, kernel, g.weight(f"{name}.bias"), **sides)


def lean_decoder(g: Graph, name: str, shape: dict[str, Any], x: str) -> str:
    x, layer = conv(g, f"{name}.conv_in", x), 0
    for level in reversed(range(len(shape["ch_mult"]))):
        for _ in range(shape["num_res_blocks"] + 1):
            x, layer = lean_block(g, f"{name}.body.{layer}", x), layer + 1
        if level:
            x, layer = _shuffled(g, conv(g, f"{name}.body.{layer}", x), 2), layer + 2
    return _shuffled(g, conv(g, f"{name}.conv_out", silu(g, x)), shape["patch"])


def _shuffled(g: Graph, x: str, side: int) -> str:
    return g.add("DepthToSpace", x, blocksize=side, mode="CRD")


def quantised(g: Graph, name: str, config: dict[str, Any], z: str) -> str:
    """Latents `(1, c, h, w)`; their nearest codes where there are codes, and the input `codes` is true."""
    z = unit_length(g, z) if config["cosine"] else z
    if config["variant"] != "discrete":
        return z
    found = _nearest(g, f"{name}.embedding.weight", config["cosine"], z)
    return g.add("Where", g.input("codes", kind=proto.BOOL), found, z)


def _nearest(g: Graph, book: str, cosine: bool, z: str) -> str:
    """Row after row, so that the distances stay in the cache, whatever the picture's size.

    ‖e‖² − 2 z·e, which is smallest for the nearest code e, is one product of (z, 1) and (−2 e, ‖e‖²). It is looked
    through in parts, since `ArgMin` goes value by value.
    """
    codes = unit_length(g, g.weight(book)) if cosine else g.weight(book)
    squares = g.add("ReduceSum", g.add("Mul", codes, codes), g.whole(1))
    table = g.add("Concat", g.add("Mul", codes, g.number(-2.0)), squares, axis=1)
    part = math.gcd(g.weights.shape(book)[0], PART)
    row = [
        proto.node("MatMul", ["row", g.add("Transpose", table, perm=[1, 0])], ["distances"]),
        proto.node("Reshape", ["distances", g.whole(0, -1, part)], ["parts"]),
        proto.node("ReduceMin", ["parts", g.whole(2)], ["least"], keepdims=0),
        proto.node("ArgMin", ["least"], ["which"], axis=1),
        proto.node("GatherND", ["parts", "which"], ["part"], batch_dims=1),
        proto.node("ArgMin", ["part"], ["within"], axis=1),
        proto.node("Mul", ["which", g.whole(part)], ["begin"]),
        proto.node("Add", ["begin", "within"], ["index"]),
        proto.node("Squeeze", ["index", g.whole(1)], ["indices"]),
        proto.node("Gather", [codes, "indices"], ["nearest"]),
    ]
    ends = (proto.value_info(each, proto.FLOAT, ("w", None)) for each in ("row", "nearest"))
    body = proto.graph("row", row, *([end] for end in ends))
    rows = g.add("Transpose", g.add("Squeeze", z, g.whole(0)), perm=[1, 2, 0])
    found = g.add("Scan", g.add("Pad", rows, g.whole(0, 0, 0, 0, 0, 1), g.number(1.0)), num_scan_inputs=1, body=body)
    return g.add("Unsqueeze", g.add("Transpose", found, perm=[2, 0, 1]), g.whole(0))


def unit_length(g: Graph, x: str) -> str:
    length = g.add("ReduceL2", x, g.whole(1))
    return g.add("Div", x, g.add("Max", length, g.number(1e-12)))
