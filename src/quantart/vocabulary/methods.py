"""The methods of an evaluation: the network itself, and baselines without its style transfer network."""

from __future__ import annotations

from typing import Final

MODEL: Final = "model"
ADAIN: Final = "adain"
CONTENT_DECODED: Final = "content_decoded"
STYLE_VQGAN: Final = "style_vqgan"
COLOUR_MATCHED: Final = "colour_matched"
COPIED_CONTENT: Final = "copied_content"
COPIED_STYLE: Final = "copied_style"
BASELINES: Final = (ADAIN, CONTENT_DECODED, STYLE_VQGAN, COLOUR_MATCHED, COPIED_CONTENT, COPIED_STYLE)
"""Measured in every evaluation, in this order."""
REFINED: Final = "refined"
MAGENTA: Final = "magenta"
"""Two further ones, where they are asked for."""
