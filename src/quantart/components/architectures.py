"""The shapes of encoder and decoder that a `ddconfig` can ask for by its `architecture`; without one: the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from quantart.components.autoencoder import Decoder, Encoder
from quantart.components.lean_autoencoder import LeanDecoder, LeanEncoder

ENCODERS: Final = {"reference": Encoder, "lean": LeanEncoder}
DECODERS: Final = {"reference": Decoder, "lean": LeanDecoder}


def make_encoder(ddconfig: Mapping[str, Any]) -> Encoder | LeanEncoder:
    """A new encoder; `ddconfig` holds its constructor's arguments too."""
    architecture, arguments = _split(ddconfig)
    return ENCODERS[architecture](**arguments)


def make_decoder(ddconfig: Mapping[str, Any]) -> Decoder | LeanDecoder:
    """A new decoder; `ddconfig` holds its constructor's arguments too."""
    architecture, arguments = _split(ddconfig)
    return DECODERS[architecture](**arguments)


def _split(ddconfig: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    arguments = dict(ddconfig)
    return arguments.pop("architecture", "reference"), arguments
