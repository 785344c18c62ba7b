"""A network's four graphs, of pictures of any size, from its `config.json` and the header of its weights.

`style` takes from a painting all that `transfer` needs of it, `content` encodes a photograph, `transfer` gives its
latents the painting's manner, and `decode` paints them. Pictures are `(1, 3, h, w)` in [-1, 1] with sides that the
downsampling divides. A discrete network's graphs, except for `decode`, have an input `codes`: whether to use its
codebooks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from shutil import copyfile
from typing import Any

from quantart.errors import UserError
from quantart.graphs.graph import Graph, Weights
from quantart.graphs.layers import conv, lean_decoder, lean_encoder, quantised
from quantart.graphs.twin import style_features, transfer
from quantart.machine.whole import whole_folder
from quantart.models.folder import CONFIG, WEIGHTS, read_config


def has_graphs(config: Mapping[str, Any]) -> bool:
    """Whether a model's configuration describes a network that can be written as graphs."""
    lean = config.get("ddconfig", {}).get("architecture") == "lean"
    return lean and config.get("transfer_network") == "twin"


def have_graphs(*folders: Path) -> bool:
    """Whether graphs can paint with all these networks, and mix what they paint: their decoders are the same."""
    return all(has_graphs(read_config(folder)) for folder in folders) and (
        len(folders) == 1 or len({network_graphs(folder, copied=True)["decode"] for folder in folders}) == 1
    )


def network_graphs(folder: Path, *, copied: bool = False) -> dict[str, bytes]:
    """The graphs by name, as ONNX files hold them, of the network in a folder.

    Args:
        copied: whether they hold their weights, instead of finding them in that folder.

    Raises:
        UserError: there is no network, it has no graphs, or its weights are not those of its configuration.
    """
    config, file = read_config(folder), folder / WEIGHTS
    if not has_graphs(config):
        raise UserError(f"{folder}: only lean networks that paint (twin) can be written as graphs")
    try:
        weights = Weights(file, copied=copied)
        made = {name: write(Graph(weights), config) for name, write in _WRITERS.items()}
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {error}") from None
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{file}: does not fit {folder / CONFIG} ({error})") from None
    counters = {name for name in weights.entries if name.endswith(".batches")}
    if left := weights.entries.keys() - weights.used - counters:
        raise UserError(f"{file}: does not fit {folder / CONFIG}, which knows nothing of {min(left)}")
    return {name: graph.model(name) for name, graph in made.items()}


def write_graphs(folder: Path, out: Path) -> None:
    """Write the graphs of the network in `folder` to the new folder `out`, with its weights and configuration.

    Raises:
        UserError: `out` exists, or as `network_graphs`.
    """
    made = network_graphs(folder)
    if out.exists():
        raise UserError(f"{out}: exists already", "name a new folder")
    with whole_folder(out) as new:
        for name, model in made.items():
            (new / f"{name}.onnx").write_bytes(model)
        for name in (CONFIG, WEIGHTS):
            copyfile(folder / name, new / name)


def _encoded(g: Graph, config: dict[str, Any], encoder: str, last: str, book: str) -> str:
    picture = g.input("picture", 1, 3, "height", "width")
    return quantised(g, book, config, conv(g, last, lean_encoder(g, encoder, config["ddconfig"], picture)))


def _content(g: Graph, config: dict[str, Any]) -> Graph:
    z = _encoded(g, config, "encoder", "quant_conv", "quantize_enc")
    g.output(z, "latents", 1, config["embed_dim"], None, None)
    return g


def _style(g: Graph, config: dict[str, Any]) -> Graph:
    style_features(g, config, _encoded(g, config, "encoder_real", "quant_conv_real", "quantize_dec"))
    return g


def _transfer(g: Graph, config: dict[str, Any]) -> Graph:
    content = g.input("latents", 1, config["embed_dim"], "height", "width")
    styled = quantised(g, "quantize_dec", config, transfer(g, config, content))
    g.output(styled, "styled", 1, config["embed_dim"], None, None)
    return g


def _decode(g: Graph, config: dict[str, Any]) -> Graph:
    z = conv(g, "post_quant_conv", g.input("latents", 1, config["embed_dim"], "height", "width"))
    g.output(lean_decoder(g, "decoder", config["ddconfig"], z), "picture", 1, 3, None, None)
    return g


_WRITERS = {"content": _content, "style": _style, "transfer": _transfer, "decode": _decode}
