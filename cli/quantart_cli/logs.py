"""Where the package's log messages go: to standard error, as plain sentences."""

from __future__ import annotations

import logging
import sys


class _StandardError(logging.Handler):
    """Writes to what `sys.stderr` is at that moment: a progress bar takes its place while it is shown."""

    def emit(self, record: logging.LogRecord) -> None:
        sentence = record.getMessage()
        kind = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        print(kind + sentence, file=sys.stderr, flush=True)


def set_up_logging(*, quiet: bool = False, verbose: bool = False) -> None:
    """Show the messages of the package: notes and warnings, warnings only (quiet), or details too (verbose)."""
    logger = logging.getLogger("quantart")
    logger.handlers = [_StandardError()]
    logger.setLevel(logging.WARNING if quiet else logging.DEBUG if verbose else logging.INFO)
