"""What the served model accepts at most: parameters of the model (`model_config` of MLflow), with safe defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from quantart.errors import UserError
from quantart.stylize.sizes import MAX_PIXELS
from quantart.stylize.stylizer import STYLE_CACHE


@dataclass(frozen=True)
class Limits:
    """Bounds of one request, of what the server does at once and of what it keeps.

    Raises:
        UserError: a value is not an integer of at least 1.
    """

    max_rows: int = 64
    """Pictures in one request."""
    max_bytes: int = 32_000_000
    """Of one picture file, before base64."""
    max_pixels: int = MAX_PIXELS
    """Of one picture sent; larger ones are refused from their header, undecoded."""
    max_size: int = 2048
    """Pixels on the long side of what is painted, whether a request asks for a size or not."""
    max_sent: int = 200_000_000
    """Pixels of all pictures in a request, content and style; larger requests are refused from the headers."""
    max_painted: int = 2**24
    """Pixels painted in one request, of all rows: 64 pictures of 512², 16 of 1024², 4 of 2048²."""
    max_seconds: int = 300
    """From when the model gets a request to when its last picture is begun; none is begun later."""
    at_once: int = 1
    """Pictures painted at the same time; each uses all threads of torch, and memory of its own."""

    style_cache: int = STYLE_CACHE
    """Bytes that the codes of style pictures may take, kept for the next request with the same picture."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"{name} = {value!r}: must be an integer of at least 1")

    @classmethod
    def of(cls, config: Mapping[str, Any] | None) -> Limits:
        """Those that `config` names, and the defaults of the others.

        Raises:
            UserError: there is no such limit, or a wrong value.
        """
        config = config or {}
        names = [field.name for field in fields(cls)]
        if unknown := [name for name in config if name not in names]:
            raise UserError(f"{unknown[0]}: there is no such limit; there are {', '.join(names)}")
        return cls(**config)


def parse_limits(texts: list[str]) -> dict[str, int]:
    """`["max_rows=8"]` as `{"max_rows": 8}`.

    Raises:
        UserError: a text of another form, an unknown limit or a wrong value.
    """
    values: dict[str, int] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            values[name] = int(value)
        except ValueError:
            raise UserError(f"--limit {text}: must be NAME=NUMBER, such as max_rows=8") from None
    Limits.of(values)
    return values
