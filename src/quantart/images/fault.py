"""The one error of decoding."""

from __future__ import annotations

from quantart.errors import UserError


class ImageError(UserError):
    """A picture that can't be used."""


class TooLargeError(ImageError):
    """A picture with more pixels than the caller allows, who alone knows which parameter raises that limit."""
