"""`components.twin_transfer` as parts of ONNX graphs: the style's walk and the content's. What they compute is
described there.

A *site* is what a walk does at a normalisation, whose name it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from quantart.graphs.graph import Graph
from quantart.graphs.layers import conv, silu, unit_length

NETWORK = "model_x2y"
EPSILON = 1e-4

Site = Callable[[Graph, str, str], str]


def style_features(g: Graph, config: dict[str, Any], z: str) -> None:
    """Outputs of the graph `style`: all that `transfer` takes of a painting's latents."""
    _give(g, "", *statistics(g, z))
    _walk(g, config, z, _style_site, noisy=False)


def transfer(g: Graph, config: dict[str, Any], content: str) -> str:
    """Latents in the painting's manner; its features become inputs."""
    mean, deviation = _taken(g, "", config["embed_dim"])
    start = g.add("Add", g.add("Mul", _standardised(g, content, *statistics(g, content)), deviation), mean)
    return g.add("Add", start, g.add("Mul", _walk(g, config, start, _content_site, noisy=True), deviation))


def _walk(g: Graph, config: dict[str, Any], z: str, site: Site, noisy: bool) -> str:
    z = _standardised(g, z, g.weight(f"{NETWORK}.mean"), g.weight(f"{NETWORK}.deviation"))
    fine = conv(g, f"{NETWORK}.conv_in", z, edge=True)
    h = conv(g, f"{NETWORK}.down", site(g, f"{NETWORK}.norm_down", fine), stride=2, edge=True)
    for block in range(config["coarse_blocks"]):
        h = _block(g, f"{NETWORK}.coarse.{block}", h, site, noisy)
    h = conv(g, f"{NETWORK}.up", site(g, f"{NETWORK}.norm_up", h))
    h = g.add("Add", fine, g.add("Resize", h, "", "", g.add("Shape", fine), mode="linear"))
    for block in range(config["fine_blocks"]):
        h = _block(g, f"{NETWORK}.fine.{block}", h, site, noisy)
    return conv(g, f"{NETWORK}.conv_out", site(g, f"{NETWORK}.norm_out", h), edge=True)


def _block(g: Graph, name: str, x: str, site: Site, noisy: bool) -> str:
    h = conv(g, f"{name}.conv1", site(g, f"{name}.norm1", x), edge=True)
    if noisy:
        h = g.add("Add", h, g.add("Mul", g.weight(f"{name}.noise"), _tiled(g, f"{name}.tile", h)))
    return g.add("Add", x, conv(g, f"{name}.conv2", site(g, f"{name}.norm2", h), edge=True))


def _tiled(g: Graph, name: str, x: str) -> str:
    """The noise, repeated to the sides of `x`."""
    tile, (side, _) = g.weight(name), g.weights.shape(name)[2:]
    for axis, size in zip((2, 3), _sides(g, x), strict=True):
        places = g.add("Range", g.scalar(0), g.add("Squeeze", size), g.scalar(1))
        tile = g.add("Gather", tile, g.add("Mod", places, g.scalar(side)), axis=axis)
    return tile


def _style_site(g: Graph, norm: str, x: str) -> str:
    mean, deviation = statistics(g, x)
    _give(g, norm, mean, deviation)
    if _attends(g, norm):
        pool = {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}
        places, squares = g.add("AveragePool", x, **pool), g.add("AveragePool", g.add("Mul", x, x), **pool)
        keys = conv(g, f"{norm}.key", _standardised(g, places, mean, deviation))
        g.output(unit_length(g, _flat(g, keys)), f"{norm}.keys", 1, None, "places")
        values = _flat(g, g.add("Concat", places, squares, axis=1))
        g.output(g.add("Transpose", values, perm=[0, 2, 1]), f"{norm}.values", 1, "places", None)
    return _activate(g, norm, x)


def _content_site(g: Graph, norm: str, x: str) -> str:
    mean, deviation = _taken(g, norm, None)
    own, spread = statistics(g, x)
    if not _attends(g, norm):
        factor = g.add("Div", deviation, spread)
        return _activate(g, norm, x, factor, g.add("Sub", mean, g.add("Mul", own, factor)))
    normal = _standardised(g, x, own, spread)
    keys, values = g.input(f"{norm}.keys", 1, None, "places"), g.input(f"{norm}.values", 1, "places", None)
    queries = unit_length(g, _flat(g, conv(g, f"{norm}.query", normal)))
    queries = g.add("Mul", g.add("Transpose", queries, perm=[0, 2, 1]), g.add("Exp", g.weight(f"{norm}.temperature")))
    attention = g.add("Softmax", g.add("MatMul", queries, keys), axis=2)
    seen = g.add("Transpose", g.add("MatMul", attention, values), perm=[0, 2, 1])
    seen = g.add("Reshape", seen, g.add("Concat", g.whole(1, -1), *_sides(g, x), axis=0))
    local, squares = g.add_with(2, "Split", seen, axis=1, num_outputs=2)
    variance = g.add("Sub", squares, g.add("Mul", local, local))
    local_deviation = g.add("Sqrt", g.add("Max", variance, g.number(EPSILON)))
    share = g.add("Sigmoid", g.weight(f"{norm}.share"))
    return _activate(g, norm, normal, _lerp(g, deviation, local_deviation, share), _lerp(g, mean, local, share))


def _activate(g: Graph, norm: str, x: str, factor: str | None = None, shift: str | None = None) -> str:
    spread = g.add("Sqrt", g.add("Add", g.weight(f"{norm}.running_var"), g.number(EPSILON)))
    scale = g.add("Div", g.weight(f"{norm}.weight"), spread)
    mean = g.weight(f"{norm}.running_mean")
    centre = g.add("Sub", shift, mean) if shift else g.add("Neg", mean)
    offset = g.add("Add", g.weight(f"{norm}.bias"), g.add("Mul", centre, scale))
    scale = g.add("Mul", factor, scale) if factor else scale
    return silu(g, g.add("Add", g.add("Mul", x, scale), offset))


def statistics(g: Graph, x: str) -> tuple[str, str]:
    mean, square = g.add("GlobalAveragePool", x), g.add("GlobalAveragePool", g.add("Mul", x, x))
    variance = g.add("Max", g.add("Sub", square, g.add("Mul", mean, mean)), g.number(0.0))
    return mean, g.add("Sqrt", g.add("Add", variance, g.number(EPSILON)))


def _standardised(g: Graph, x: str, mean: str, deviation: str) -> str:
    return g.add("Div", g.add("Sub", x, mean), deviation)


def _lerp(g: Graph, a: str, b: str, share: str) -> str:
    return g.add("Add", a, g.add("Mul", share, g.add("Sub", b, a)))


def _attends(g: Graph, norm: str) -> bool:
    return f"{norm}.query.weight" in g.weights.entries


def _give(g: Graph, norm: str, mean: str, deviation: str) -> None:
    for value, name in ((mean, "mean"), (deviation, "deviation")):
        g.output(value, f"{norm}.{name}".lstrip("."), 1, None, 1, 1)


def _taken(g: Graph, norm: str, channels: int | None) -> tuple[str, str]:
    mean, deviation = (g.input(f"{norm}.{name}".lstrip("."), 1, channels, 1, 1) for name in ("mean", "deviation"))
    return mean, deviation


def _flat(g: Graph, x: str) -> str:
    """`(1, c, h, w)` to `(1, c, h·w)`."""
    return g.add("Reshape", x, g.whole(0, 0, -1))


def _sides(g: Graph, x: str) -> tuple[str, str]:
    return g.add("Shape", x, start=2, end=3), g.add("Shape", x, start=3, end=4)
