"""Pictures in the terminal: by kitty's protocol or as sixels where it knows them, else as coloured half cells."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

MOST = 6  # pictures
WIDEST = 240  # cells; kitty's protocol numbers at most 297


def show_pictures(files: Sequence[Path]) -> None:
    """Show pictures of our own, at most `MOST`; nothing where input or output is no terminal, which can't be asked."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return
    from rich.console import Console

    # asks the terminal what it can when it is imported, and for an answer waits a tenth of a second
    from textual_image.renderable import Image

    console = Console()
    console.width = min(console.width, WIDEST)
    for file in files[:MOST]:
        console.print(Image(file, "auto", "auto"))
