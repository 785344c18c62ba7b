"""Most of what the served model accepts: the model's configuration (`model_config` of MLflow), with safe defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from quantart.errors import UserError
from quantart.stylize.sizes import MAX_PIXELS
from quantart.stylize.stylizer import STYLE_CACHE


@dataclass(frozen=True)
class Limits:
    """Limits of one request, of what the server does at once and of what it keeps: integers of at least 1."""

    max_rows: int = 64
    """Pictures in one request."""
    max_bytes: int = 32_000_000
    """Bytes of one picture file, before base64."""
    max_pixels: int = MAX_PIXELS
    """Pixels of one picture sent; larger ones are refused from their header, undecoded."""
    max_size: int = 2048
    """Pixels of a painted picture's long side, whether a request asks for a size or not."""
    max_sent: int = 200_000_000
    """Pixels of all pictures in a request, content and style; larger requests are refused from the headers."""
    max_painted: int = 2**24
    """Pixels painted in one request, of all rows: 64 pictures of 512², 16 of 1024², 4 of 2048²."""
    max_seconds: int = 300
    """From when the model gets a request to when it starts the last picture; none is started later."""
    at_once: int = 1
    """Pictures painted at the same time; each uses all threads of torch, and memory of its own."""
    style_cache: int = STYLE_CACHE
    """Bytes for the latents of style pictures, kept for the next request with the same picture."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} = {value!r}: must be an integer of at least 1")

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> Limits:
        """The limits that `config` names, and the defaults of the others."""
        known = asdict(cls())
        if unknown := [name for name in config or {} if name not in known]:
            raise UserError(f"{unknown[0]}: there is no such limit", f"there are {', '.join(known)}")
        return cls(**config or {})


def parse_limits(texts: list[str]) -> dict[str, int]:
    """`["max_rows=8"]` as `{"max_rows": 8}`, checked."""
    values: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = int(value)
        except ValueError:
            raise UserError(f"--limit {text}: must be NAME=NUMBER, such as max_rows=8") from None
    Limits.of(values)
    return values
