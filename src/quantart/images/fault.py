"""The one error of decoding."""

from __future__ import annotations

from quantart.errors import UserError


class ImageError(UserError):
    """A picture that can't be used."""
